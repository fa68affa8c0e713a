package reader_test

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"segue/pkg/fault"
	spec "segue/pkg/migration"
	"segue/pkg/pgtest"
	"segue/services/reader"
)

func (h *harness) guard(p spec.Protect, reg prometheus.Registerer) *reader.Guard {
	return reader.NewGuard(reader.GuardConfig{URL: h.url, App: "guard", Slot: h.slot, Protect: p, Every: 20 * time.Millisecond}, slog.New(h.logs), reg)
}

// Kafka takes nothing, the reader stands still in the middle of it, and the slot holds ever more back. The limit acts all the same.
func TestALimitActsWhileKafkaTakesNothing(t *testing.T) {
	for _, c := range []struct {
		on    spec.OnLimit
		slots int
		says  string
	}{
		{spec.OnLimitStop, 1, "still holds the log"},
		{spec.OnLimitDrop, 0, "was dropped to save the source"},
	} {
		t.Run(string(c.on), func(t *testing.T) {
			h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
			protect := spec.Protect{WarnRetainedWAL: 2 << 20, MaxRetainedWAL: 32 << 20, OnLimit: c.on}
			h.around = h.guard(protect, nil).While
			h.start()
			h.target().settle()
			refused := h.fake.RefuseProduce("", kerr.NotEnoughReplicas, -1)
			h.wait("the slot to hold back more than it may", func() bool {
				pgtest.Exec(t, h.conn, `UPDATE public.a SET big = repeat(md5(random()::text), 60)`)
				return h.count(`SELECT coalesce((SELECT pg_current_wal_lsn() - restart_lsn FROM pg_replication_slots WHERE slot_name = $1), 1e12)::bigint`, h.slot) > 33<<20
			})
			h.waitLog("protect.max_retained_wal")
			refused.Remove() // it acts already; only the writer's goodbye would wait
			err := h.end()
			if fault.ClassOf(err) != fault.ClassFatal || err == nil || !strings.Contains(err.Error(), "max_retained_wal is 32.0 MB") || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.HintOf(err), "--new-history") {
				t.Errorf("got %v", err)
			}
			if n := strings.Count(h.logs.String(), "protect.warn_retained_wal is 2.0 MB"); n != 1 {
				t.Errorf("the first threshold was told %d times", n)
			}
			if n := h.count(`SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1`, h.slot); n != c.slots {
				t.Errorf("%d slots are left, want %d", n, c.slots)
			}
			h.around = h.guard(protect, nil).While // of another process
			h.start()
			if c.on == spec.OnLimitDrop {
				if err := h.end(); err == nil || !strings.Contains(err.Error(), "had been dropped") {
					t.Errorf("the next start: %v", err)
				}
				return
			}
			x := h.target() // it works off what was held back, although it starts above the limit
			x.settle()
		})
	}
}

// A threshold is told once when it is crossed and once when that is over; metrics say which are crossed.
func TestThresholdsAreToldOnce(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	pgtest.Exec(t, h.conn, `SELECT pg_create_logical_replication_slot('`+h.slot+`', 'pgoutput')`)
	reg := prometheus.NewRegistry()
	g := h.guard(spec.Protect{WarnInactive: time.Second, MaxRetainedWAL: 1, OnLimit: spec.OnLimitWarn}, reg)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		ended <- g.While(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
	}()
	h.waitLog("protect.warn_inactive is 1s")
	h.waitLog("protect.max_retained_wal is 1 bytes")
	h.wait("the metrics", func() bool {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		over := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "segue_reader_slot_over_threshold" {
					over[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
		return maps.Equal(over, map[string]float64{"max_catalog_xmin_age": 0, "max_retained_wal": 1, "warn_catalog_xmin_age": 0, "warn_inactive": 1, "warn_retained_wal": 0})
	})
	h.start()
	h.waitLog("the slot is below the threshold again")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("a limit that only warns ended it: %v", err)
	}
	if n := strings.Count(h.logs.String(), "max_retained_wal is"); n != 1 {
		t.Errorf("told %d times", n)
	}
}
