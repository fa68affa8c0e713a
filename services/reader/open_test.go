package reader

import (
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/pgsource"
)

// What the slot and the source say is held against the last frontier before anything is read.
func TestWhatDoesNotContinueTheFrontiers(t *testing.T) {
	identity := pgsource.Identity{SystemID: "7", Timeline: 1, Database: "d"}
	resumed := frontier.NewState()
	resumed.Offset, resumed.At, resumed.Confirm, resumed.Source = 9, change.Position{Epoch: 1, LSN: 190}, 200, history(&identity)
	for name, c := range map[string]struct {
		state   pgsource.SlotState
		created bool
		want    string
	}{
		"the slot where it was":   {state: pgsource.SlotState{Exists: true, ConfirmedLSN: 200}},
		"a slot that lags behind": {state: pgsource.SlotState{Exists: true, ConfirmedLSN: 150, UnconfirmedBytes: 50}},
		"a slot that is ahead":    {state: pgsource.SlotState{Exists: true, ConfirmedLSN: 201, UnconfirmedBytes: 9}, want: "was confirmed up to"},
		"a new slot":              {state: pgsource.SlotState{Exists: true, ConfirmedLSN: 300}, created: true, want: "had been dropped"},
		// A copy of the server from before: what it writes now lies at positions that are known, and would be skipped.
		"an older copy":               {state: pgsource.SlotState{Exists: true, ConfirmedLSN: 150, UnconfirmedBytes: 49}, want: "earlier time"},
		"a new slot on an older copy": {state: pgsource.SlotState{Exists: true, ConfirmedLSN: 199}, created: true, want: "earlier time"},
	} {
		o := &opening{Reader: &Reader{cfg: Config{Slot: "s"}}, identity: identity, state: c.state, created: c.created, resumed: resumed}
		err := o.continues()
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: want %q, got %v", name, c.want, err)
		}
	}
}
