package applier

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/migration"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
)

func TestStrainJudges(t *testing.T) {
	s := newStrain(Config{Pause: migration.Pause{ActiveSessions: 10, StandbyLag: 1 << 20}},
		Deps{Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()), Now: time.Now})
	for _, tt := range []struct {
		what string
		busy postgres.Busy
		over string
	}{
		{"quiet", postgres.Busy{ActiveSessions: 3}, ""},
		{"as many sessions as may be", postgres.Busy{ActiveSessions: 10}, ""},
		{"one more", postgres.Busy{ActiveSessions: 11}, "11 sessions of others are active, target.pause_while.active_sessions is 10"},
		{"a standby behind", postgres.Busy{StandbyLag: 3 << 20}, "a standby is 3.0 MB behind, target.pause_while.standby_lag is 1.0 MB"},
		{"it has caught up", postgres.Busy{StandbyLag: 1 << 20}, ""},
	} {
		s.judge(&tt.busy)
		if over, _, _ := s.state(); over != tt.over {
			t.Errorf("%s: over %q, want %q", tt.what, over, tt.over)
		}
	}
}

// crowd is sessions of others that are active until they are told to end.
func (r *rig) crowd(sessions int) (end func()) {
	r.t.Helper()
	holder := pgtest.Connect(r.t, r.cfg.Target.URL)
	pgtest.Exec(r.t, holder, "SELECT pg_advisory_lock(1)")
	done := make(chan error, sessions)
	for range sessions {
		conn := pgtest.Connect(r.t, r.cfg.Target.URL)
		go func() {
			_, err := conn.Exec(r.t.Context(), "SELECT pg_advisory_lock(1), pg_advisory_unlock(1)")
			done <- err
		}()
	}
	return func() {
		pgtest.Exec(r.t, holder, "SELECT pg_advisory_unlock(1)")
		for range sessions {
			if err := <-done; err != nil {
				r.t.Error(err)
			}
		}
	}
}

// strainRig rests while more than two sessions of others work. It has a server of its own: other tests are others.
func strainRig(t *testing.T, most time.Duration) (*rig, *waiting) {
	t.Helper()
	cluster := pgtest.Private(t, nil)
	r, w := newRigOn(t, cluster.Database(t)), &waiting{}
	r.cfg.Pause, r.cfg.StrainEvery = migration.Pause{ActiveSessions: 2, Max: most}, 10*time.Millisecond
	r.cfg.Target.App = "segue:m:applier"
	r.deps.Waiting = w.say
	return r, w
}

func TestTheApplierRestsWhileTheTargetIsBusy(t *testing.T) {
	r, w := strainRig(t, time.Hour)
	_, stop := r.start()
	first := r.batch(true, nil, insert(0, "1", "a"))
	r.reach(first)
	end := r.crowd(4)
	r.until("it is seen", func() bool { return r.metric("resting") == 1 })
	at := r.batch(true, nil, insert(0, "2", "b"))
	r.until("the rest is told", func() bool { return strings.Contains(w.last(), "less to do") })
	if said := w.last(); !strings.HasPrefix(said, "until the target has less to do, at the most for 1h0m0s: ") || !strings.HasSuffix(said, "sessions of others are active, target.pause_while.active_sessions is 2") {
		t.Errorf("it says %q", said)
	}
	r.want("SELECT count(*)::text FROM p", "1")
	end()
	r.reach(at)
	r.until("it goes on", func() bool { return w.last() == "" && r.metric("resting") == 0 })
	_ = stop()
}

// A transaction that is open is finished first: nothing of it stands still.
func TestAnOpenTransactionDoesNotRest(t *testing.T) {
	r, _ := strainRig(t, time.Hour)
	_, stop := r.start()
	r.reach(r.batch(true, nil))
	r.batch(false, nil, insert(0, "1", "a"))
	r.wait("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'segue:m:applier' AND state = 'idle in transaction' AND backend_xid IS NOT NULL", 1)
	end := r.crowd(4)
	r.until("it is seen", func() bool { return r.metric("resting") == 1 })
	r.reach(r.batch(true, nil, insert(0, "2", "b")))
	end()
	_ = stop()
	r.want("SELECT count(*)::text FROM p", "2")
}

// Behind the longest rest it goes on slowly, for as long as the target stays busy.
func TestTheApplierGoesOnAtATrickle(t *testing.T) {
	r, w := strainRig(t, 50*time.Millisecond)
	end := r.crowd(4)
	_, stop := r.start()
	r.until("it is seen", func() bool { return r.metric("resting") == 1 })
	for i := range 3 {
		r.reach(r.batch(true, nil, insert(0, fmt.Sprint(i), "a")))
	}
	if all := w.all(); !strings.Contains(all, "until the target has less to do, and works for a tenth of the time: ") {
		t.Error(all)
	}
	end()
	_ = stop()
}
