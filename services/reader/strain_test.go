package reader

import (
	"log/slog"
	"testing"

	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/postgres"
)

func TestStrainJudges(t *testing.T) {
	d := newDesk(nil, chunk.NewPlan(nil, nil, 1), 1, &frontier.State{})
	s := &strain{desk: d, sessions: 10, lag: 1 << 20, log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil)}
	for _, tt := range []struct {
		what string
		busy postgres.Busy
		rest bool
	}{
		{"quiet", postgres.Busy{ActiveSessions: 3}, false},
		{"as many sessions as may be", postgres.Busy{ActiveSessions: 10}, false},
		{"one more", postgres.Busy{ActiveSessions: 11}, true},
		{"a standby behind", postgres.Busy{StandbyLag: 1<<20 + 1}, true},
		{"it has caught up", postgres.Busy{StandbyLag: 1 << 20}, false},
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
