package reader_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgtest"
	"segue/services/reader"
)

// slotsFollow is the first version whose slots follow a failover.
const slotsFollow = 170000

// steady changes rows on whichever server is the primary, over failovers, until its context ends.
func steady(t *testing.T, url string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; {
			conn, err := pgx.Connect(ctx, url+"&target_session_attrs=primary&connect_timeout=2")
			for err == nil && ctx.Err() == nil {
				n++
				// Never cut short: a statement that the server still works on would be behind the test's last look.
				_, err = conn.Exec(context.WithoutCancel(ctx), fmt.Sprintf(`UPDATE public.a SET n = %d, v = nextval('public.versions') WHERE id = %d`, n, 1+n%1500))
				if err == nil {
					_, err = conn.Exec(context.WithoutCancel(ctx), fmt.Sprintf(`INSERT INTO public.b (x, y, note) VALUES ('f', %d, 'of the failover') ON CONFLICT (x, y) DO UPDATE SET note = 'again', v = nextval('public.versions')`, 100_000+n%200))
				}
			}
			if conn != nil {
				_ = conn.Close(context.WithoutCancel(ctx))
			}
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// again starts life after life, as a group does, until one says the text or ends for good.
func (h *harness) again(text string) error {
	h.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		h.start()
		tick := time.NewTicker(10 * time.Millisecond)
	life:
		for {
			select {
			case err := <-h.ended:
				h.stop()
				h.stop = nil
				if err != nil && fault.ClassOf(err) != fault.ClassTransient {
					tick.Stop()
					return err
				}
				break life
			case <-tick.C:
				if strings.Contains(h.logs.String(), text) {
					tick.Stop()
					return nil
				}
			}
		}
		tick.Stop()
	}
	h.t.Fatalf("the reader neither said %q nor ended for good:\n%s", text, h.logs)
	return nil
}

// failover is a reader on a pair of servers.
func failover(t *testing.T) (*harness, *pgtest.Pair, string) {
	t.Helper()
	pair := pgtest.NewPair(t)
	database := pair.Database(t)
	pgtest.Exec(t, pgtest.Connect(t, pair.On(t, pair.Primary, database)), shop...)
	h := newHarness(t, pair.URL(t, database)+"&target_session_attrs=primary", []string{"a", "b"})
	h.url = pair.URL(t, database) // segue itself asks for the primary among several hosts
	return h, pair, database
}

// The primary dies and its standby is promoted, under traffic, during the load and behind it. Where the slot follows (PostgreSQL 17), the
// reader goes on in a new epoch without reading anything again; where it does not, it says so, and a new history does.
func TestFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL clusters")
	}
	for _, during := range []string{"load", "stream"} {
		t.Run(during, func(t *testing.T) {
			h, pair, database := failover(t)
			if during == "load" {
				h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 300, 1 }
			}
			h.start()
			x := h.target()
			if during == "load" {
				x.until("some chunks", func() bool { return x.loads >= 3 })
			} else {
				x.settle()
			}
			pair.Synced(t, h.slot)
			stop := steady(t, h.url)
			changes := x.seen[change.Update]
			x.until("traffic", func() bool { return x.seen[change.Update] > changes+20 })
			reads, loads := x.seen[change.Read], x.loads
			if during == "load" && x.loaded {
				t.Fatal("the load was over too soon")
			}
			pair.Primary.Private.Kill()
			if err := h.end(); fault.ClassOf(err) != fault.ClassTransient {
				t.Fatalf("a lost primary: %v", err)
			}
			h.start()
			if err := h.end(); fault.ClassOf(err) != fault.ClassTransient { // only a standby is there
				t.Fatalf("no primary: %v", err)
			}
			pair.Promote(t)
			h.conn = pgtest.Connect(t, pair.On(t, pair.Standby, database))
			if pair.Version < slotsFollow {
				err := h.again("going on in a new epoch")
				// Without synchronized_standby_slots the new primary may also lack what Kafka has.
				if err == nil || !strings.Contains(err.Error(), "promoted") || !strings.Contains(err.Error(), "data is at risk") {
					t.Fatalf("a failover without the slot: %v", err)
				}
				h.cfg = func(c *reader.Config) { c.NewHistory = true }
				h.start()
				x.until("the new epoch", func() bool { return x.at.Epoch == 2 })
				stop()
				h.wait("the load", func() bool { return h.last.Progress()["public.a"].Complete && h.last.Progress()["public.b"].Complete })
				return
			}
			h.cfg = func(*reader.Config) {}
			if err := h.again("going on in a new epoch"); err != nil {
				t.Fatal(err)
			}
			x.until("the new epoch", func() bool { return x.at.Epoch == 2 })
			changes = x.seen[change.Update]
			x.until("traffic of the new primary", func() bool { return x.seen[change.Update] > changes+20 })
			stop()
			x.until("the load", func() bool { return x.loaded })
			x.settle()
			if during == "stream" && x.seen[change.Read] != reads {
				t.Errorf("%d rows were read again", x.seen[change.Read]-reads)
			}
			if during == "load" && (x.seen[change.Read] > 3000+1000 || x.loads <= loads) {
				t.Errorf("%d rows were read, in %d batches, %d of them before: the finished chunks were read again", x.seen[change.Read], x.loads, loads)
			}
			if x.repeated > 0 {
				t.Errorf("%d changes came again behind the failover", x.repeated)
			}

			// The former primary comes back, and somebody's URL still names it.
			h.kill()
			pair.StartPrimary(t)
			good := h.url
			h.url = pair.On(t, pair.Primary, database)
			h.start()
			if err := h.end(); err == nil || !strings.Contains(err.Error(), "former primary") || !strings.Contains(fault.HintOf(err), "present primary") {
				t.Fatalf("the former primary: %v", err)
			}
			h.url = good // the first host of the list takes writes again: the list does not help, the history does
			h.start()
			if err := h.end(); err == nil || !strings.Contains(err.Error(), "former primary") {
				t.Fatalf("the former primary: %v", err)
			}
		})
	}
}

// What the former primary committed and Kafka has, the promoted standby may lack: that is named, and nothing is claimed.
func TestAFailoverThatLosesWhatKafkaHas(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL clusters")
	}
	h, pair, database := failover(t)
	h.start()
	x := h.target()
	x.settle()
	pair.Synced(t, h.slot)
	pair.CutOff(t)
	pgtest.Exec(t, h.conn, `INSERT INTO public.a (id, n) VALUES (-7, -7)`)
	x.until("what the standby never got", func() bool { return len(x.rows["a"]) == 1501 })
	pair.Primary.Private.Kill()
	if err := h.end(); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatalf("a lost primary: %v", err)
	}
	pair.Promote(t)
	h.conn = pgtest.Connect(t, pair.On(t, pair.Standby, database))
	claims := h.claims()
	for range 2 {
		err := h.again("going on in a new epoch")
		if err == nil || !strings.Contains(err.Error(), "Kafka holds changes up to") || !strings.Contains(fault.HintOf(err), "--new-history") {
			t.Fatalf("got %v", err)
		}
	}
	if n := h.claims(); n != claims {
		t.Errorf("%d claims were written, %d before", n, claims)
	}
	h.cfg = func(c *reader.Config) { c.NewHistory = true }
	h.start()
	x.until("the new epoch", func() bool { return x.at.Epoch == 2 })
	h.wait("the load", func() bool { return h.last.Progress()["public.a"].Complete && h.last.Progress()["public.b"].Complete })
}
