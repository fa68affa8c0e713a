package reader_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/pkg/table"
	"segue/services/reader"
)

// TestTheLoadRestsWhileTheSourceIsBusy has more sessions work than the load may compete with: nothing is read, the stream goes on; with them gone it
// is read.
func TestTheLoadRestsWhileTheSourceIsBusy(t *testing.T) {
	h := newHarness(t, pgtest.Private(t, nil).Database(t), []string{"a", "b"}, shop...)
	h.cfg = func(c *reader.Config) {
		c.ActiveSessions, c.App = 2, "segue:test:reader"
		c.RowsPerSecond, c.Workers = 1500, 1 // still under way when the source has become busy
	}
	h.metrics = prometheus.NewRegistry()
	h.start()
	x := h.target()
	x.until("the first chunk", func() bool { return x.loads > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{}, 3)
	for range 3 {
		conn := pgtest.Connect(t, h.url)
		go func() {
			_, _ = conn.Exec(ctx, "SELECT pg_sleep(600)")
			ended <- struct{}{}
		}()
	}
	h.wait("all three to work", func() bool {
		var n int
		err := h.conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'").Scan(&n)
		return err == nil && n == 3
	})
	// Every look from here on finds them; one before may have found others, and the load may have waited and gone on.
	h.wait("the load to wait", func() bool { return gauge(t, h.metrics, "segue_reader_load_waits", "active_sessions") == 1 })
	// What was begun is finished, piece by piece; then nothing is read, while changes go on.
	const many = 50
	quiet := 0
	for n := 0; quiet < many && !x.loaded; n++ {
		before := x.seen[change.Read]
		x.until("changes while the load waits", x.settled(fmt.Sprintf("INSERT INTO public.b (x, y) VALUES ('rest', %d)", n)))
		if quiet++; x.seen[change.Read] > before {
			quiet = 0
		}
	}
	if x.loaded {
		t.Error("all was read while the source was busy")
	}
	if v := gauge(t, h.metrics, "segue_reader_load_waits", "active_sessions"); v != 1 {
		t.Errorf("the metric for a waiting load is %v", v)
	}
	cancel()
	for range 3 {
		<-ended
	}
	h.waitLog("the load goes on")
	x.settle()
}

// settled runs a statement and says when its insert came through the stream.
func (x *target) settled(sql string) func() bool {
	x.h.t.Helper()
	n := x.seen[change.Insert]
	pgtest.Exec(x.h.t, x.h.conn, sql)
	return func() bool { return x.seen[change.Insert] > n }
}

func gauge(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1 // it was not set yet
}

// TestTheLoadHoldsNothingLonger looks at the source's sessions all through a load under traffic: no snapshot of the reader outlives a chunk, so
// none holds vacuum back (P9).
func TestTheLoadHoldsNothingLonger(t *testing.T) {
	h := newHarness(t, pgtest.Private(t, nil).Database(t), []string{"a", "b"}, shop...)
	h.cfg = slow
	h.start()
	x := h.target()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan held, 1)
	conn := pgtest.Connect(t, h.url)
	go func() { seen <- watchSnapshots(ctx, t, conn) }()
	x.until("the load", func() bool { return x.loaded })
	cancel()
	s := <-seen
	x.settle()
	t.Logf("%d snapshots in %d looks, the oldest %d transactions old, of %d in all; %d batches with chunks", len(s.snapshots), s.looks, s.oldest, s.looks, x.loads)
	if s.looks < 40 || len(s.snapshots) < 5 {
		t.Fatalf("%d snapshots in %d looks are too few to tell", len(s.snapshots), s.looks)
	}
	// A snapshot over the whole load would be as old as all its transactions.
	if int(s.oldest) > s.looks/4 {
		t.Errorf("a snapshot was %d transactions old, of %d in all", s.oldest, s.looks)
	}
}

// held is what was seen of the reader's snapshots.
type held struct {
	snapshots map[string]bool // by session and beginning
	oldest    int32           // in transactions that began since
	looks     int             // each was a transaction of its own
}

// watchSnapshots commits a change and looks at the source's sessions, over and over.
func watchSnapshots(ctx context.Context, t *testing.T, conn *pgx.Conn) held {
	const sql = `SELECT pid || ' ' || xact_start, age(backend_xmin) FROM pg_stat_activity
		WHERE application_name = 'test' AND backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND backend_type = 'client backend'`
	s := held{snapshots: map[string]bool{}}
	for ; ctx.Err() == nil; s.looks++ {
		if _, err := conn.Exec(t.Context(), "UPDATE public.b SET note = 'seen' WHERE y = $1", 1+s.looks%1500); err != nil {
			t.Error(err)
			return s
		}
		rows, err := conn.Query(t.Context(), sql)
		if err != nil {
			t.Error(err)
			return s
		}
		var name string
		var age int32
		if _, err := pgx.ForEachRow(rows, []any{&name, &age}, func() error {
			s.snapshots[name], s.oldest = true, max(s.oldest, age)
			return nil
		}); err != nil {
			t.Error(err)
			return s
		}
	}
	return s
}

// TestConditionsLeaveRowsOutOfTheFirstLoadOnly: the first life reads no row that the filter leaves out anyway; a later load reads all, because the
// target may have them.
func TestConditionsLeaveRowsOutOfTheFirstLoadOnly(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.cfg = func(c *reader.Config) {
		c.Conditions = map[table.Name][]table.Condition{{Schema: "public", Table: "a"}: {{Column: 2, Is: table.OneOf, Values: []string{"7", "900"}}}}
	}
	h.start()
	x := h.target()
	x.until("the load", func() bool { return x.loaded })
	if n := x.seen[change.Read]; n != 2 {
		t.Errorf("%d rows were read, want the 2 that fulfil the condition", n)
	}
	// What enters the filter comes by the stream.
	pgtest.Exec(t, h.conn, "UPDATE public.a SET n = 7 WHERE id = 20")
	x.until("the update", func() bool { return x.seen[change.Update] > 0 })
	h.kill()
	pgtest.Exec(t, h.conn, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '"+h.slot+"' AND active")
	h.wait("the slot to be free", func() bool {
		_, err := h.conn.Exec(t.Context(), "SELECT pg_drop_replication_slot('"+h.slot+"')")
		return err == nil
	})
	conditions := h.cfg
	h.cfg = func(c *reader.Config) { conditions(c); c.NewHistory = true }
	h.start()
	x.until("all rows of the second load", func() bool { return x.seen[change.Read] >= 2+1500 })
	x.settle()
}

// TestTransactionIDsBeyond32Bits moves a cluster's transaction ids past 2^32: snapshots have 64 bits then, the log's ids 32.
func TestTransactionIDsBeyond32Bits(t *testing.T) {
	c := pgtest.Private(t, nil)
	url := c.Database(t)
	conn := pgtest.Connect(t, url)
	pgtest.Exec(t, conn, shop...)
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Offline(t, "pg_resetwal", "--epoch=5")
	h := newHarness(t, url, []string{"a", "b"})
	var xid uint64
	if err := h.conn.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text::numeric").Scan(&xid); err != nil || xid>>32 != 5 {
		t.Fatalf("transaction id %d, %v: want one of epoch 5", xid, err)
	}
	stop := busy(t, h.url, true)
	h.start()
	x := h.target()
	x.until("the load", func() bool { return x.loaded })
	h.kill()
	h.start()
	stop()
	x.settle()
}
