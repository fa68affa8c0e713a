package migration

import (
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
