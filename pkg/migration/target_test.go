package migration

import (
	"fmt"
	"testing"
	"time"
)

func TestTarget(t *testing.T) {
	spec, err := parseText(withTarget("indexes: after_load, index_workers: 4, pause_while: {active_sessions: 7, standby_lag: 3GB, max_pause: 90s}"))
	if err != nil {
		t.Fatal(err)
	}
	want := Target{Store: Store{Postgres: "b"}, Indexes: IndexesAfterLoad, IndexWorkers: 4, Pause: Pause{ActiveSessions: 7, StandbyLag: 3 << 30, Max: 90 * time.Second}}
	if spec.Target != want || !spec.Target.Pause.Watches() {
		t.Errorf("got %+v, want %+v", spec.Target, want)
	}
	want = Target{Store: Store{Postgres: "b"}, Indexes: IndexesKeep, IndexWorkers: DefaultIndexWorkers, Pause: Pause{Max: DefaultMaxPause}}
	if spec, err = parseText(stores + tables); err != nil || spec.Target != want || spec.Target.Pause.Watches() {
		t.Errorf("without the keys: %+v, %v", spec.Target, err)
	}
}

func TestPauseCrossed(t *testing.T) {
	p := Pause{ActiveSessions: 10, StandbyLag: 1 << 20}
	for _, tt := range []struct {
		sessions int
		lag      int64
		want     string
	}{
		{10, 1 << 20, "[]"},
		{11, 0, "[11 sessions of others are active, target.pause_while.active_sessions is 10]"},
		{11, 2 << 20, "[11 sessions of others are active, target.pause_while.active_sessions is 10 a standby is 2.0 MB behind, target.pause_while.standby_lag is 1.0 MB]"},
	} {
		if got := fmt.Sprint(p.Crossed(tt.sessions, tt.lag)); got != tt.want {
			t.Errorf("%d, %d: %s", tt.sessions, tt.lag, got)
		}
	}
	if none := (&Pause{}).Crossed(1000, 1<<40); len(none) != 0 {
		t.Errorf("without limits: %v", none)
	}
}
