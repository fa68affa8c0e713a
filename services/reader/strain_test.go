package reader

import (
	"log/slog"
	"testing"

	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/pgsource"
)

func TestStrainJudges(t *testing.T) {
	d := newDesk(nil, chunk.NewPlan(nil, nil, 1), 1, &frontier.State{})
	s := &strain{desk: d, sessions: 10, lag: 1 << 20, log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil)}
	for _, tt := range []struct {
		what string
		busy pgsource.Busy
		rest bool
	}{
		{"quiet", pgsource.Busy{ActiveSessions: 3}, false},
		{"as many sessions as may be", pgsource.Busy{ActiveSessions: 10}, false},
		{"one more", pgsource.Busy{ActiveSessions: 11}, true},
		{"a standby behind", pgsource.Busy{StandbyLag: 1<<20 + 1}, true},
		{"it has caught up", pgsource.Busy{StandbyLag: 1 << 20}, false},
	} {
		s.judge(&tt.busy)
		if d.resting != tt.rest {
			t.Errorf("%s: resting %v", tt.what, d.resting)
		}
	}
	if none := (&strain{}); none.watches() {
		t.Error("without limits it asks the source all the same")
	}
}
