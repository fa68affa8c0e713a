package reader_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/pkg/fault"
	"segue/pkg/pgtest"
	"segue/services/reader"
)

// count asks the source for a number.
func (h *harness) count(sql string, args ...any) (n int) {
	h.t.Helper()
	if err := h.conn.QueryRow(h.t.Context(), sql, args...).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// A reader whose URL leads to the wrong place neither takes over from the right one nor leaves anything behind there, and says so again and again.
func TestAWrongSourceIsLeftAlone(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	h.target().settle()
	h.kill()
	claims := h.claims()
	right := h.conn
	other := pgtest.Database(t)
	h.conn = pgtest.Connect(t, other)
	pgtest.Exec(t, h.conn, shop...)
	h.cfg = func(c *reader.Config) { c.URL, c.Slot = other, h.slot+"_2" }
	for range 2 {
		h.start()
		if err := h.end(); err == nil || !strings.Contains(err.Error(), "the frontiers in Kafka tell of") {
			t.Fatalf("got %v", err)
		}
	}
	if n := h.count(`SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1)`, h.slot+"_2"); n != 0 {
		t.Errorf("%d things were left behind", n)
	}
	if n := h.claims(); n != claims {
		t.Errorf("it claimed at %d, the right reader's claim is %d", n, claims)
	}
	h.conn, h.cfg = right, func(*reader.Config) {}
	h.start()
	h.target().settle()
}

// Somebody ends the reader's sender and drops its slot while it runs. The start says so, each time, and makes no other slot.
func TestASlotThatIsDroppedUnderTheReader(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	h.target().settle()
	pgtest.Exec(t, h.conn, `SELECT pg_terminate_backend(active_pid, 10000), pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '`+h.slot+`'`)
	if err := h.end(); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatalf("the connection was cut: %v", err)
	}
	for range 2 {
		h.start()
		if err := h.end(); err == nil || !strings.Contains(err.Error(), "had been dropped") || !strings.Contains(fault.HintOf(err), "--new-history") {
			t.Fatalf("got %v", err)
		}
	}
	if n := h.count(`SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1`, h.slot); n != 0 {
		t.Error("a slot was made that continues nothing")
	}
}

// Kafka takes nothing, the slot holds ever more back, and the server gives it up: the reader says so, although it cannot reach Kafka.
func TestASlotThatIsLostWhileKafkaTakesNothing(t *testing.T) {
	c := pgtest.Private(t, map[string]string{"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"})
	h := newHarness(t, c.Database(t), []string{"a"}, shop...)
	h.start()
	h.target().settle()
	h.fake.RefuseProduce("", kerr.NotEnoughReplicas, -1)
	h.wait("the slot to be lost", func() bool {
		pgtest.Exec(t, h.conn, `UPDATE public.a SET n = n + 1 WHERE id < 10`, `SELECT pg_switch_wal()`, `CHECKPOINT`)
		return h.count(`SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1 AND wal_status = 'lost'`, h.slot) == 1
	})
	if err := h.end(); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatalf("the server ended the sender: %v", err)
	}
	h.start()
	if err := h.end(); err == nil || !strings.Contains(err.Error(), "is lost") || fault.ClassOf(err) != fault.ClassFatal {
		t.Fatalf("got %v", err)
	}
}

// A slot that somebody else reads is waited for, with who that is.
func TestASlotThatSomebodyElseReads(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	h.target().settle()
	second := &harness{t: t, url: h.url, conn: h.conn, names: h.names, kafka: h.kafka, fake: h.fake, reg: h.reg, slot: h.slot, cfg: h.cfg, logs: &logs{}}
	t.Cleanup(second.kill)
	second.start()
	err := second.end()
	if fault.ClassOf(err) != fault.ClassTransient || !strings.Contains(err.Error(), "application test") || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("got %v", err)
	}
}
