package reader

import (
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/pgsource"
)

// What the slot and the source say is held against the last frontier before anything is read.
func TestWhatDoesNotContinueTheFrontiers(t *testing.T) {
	const database = "d"
	first := pgsource.Identity{SystemID: "7", Timeline: 1, Database: database}
	promoted := func(at ...uint64) pgsource.Identity { // a timeline for each place of a promotion
		i := pgsource.Identity{SystemID: "7", Timeline: int32(1 + len(at)), Database: database}
		for n, end := range at {
			i.Ancestors = append(i.Ancestors, pgsource.Ancestor{Timeline: int32(1 + n), End: end})
		}
		return i
	}
	other, elsewhere := first, first
	other.SystemID, elsewhere.Database = "8", "e"
	fine := pgsource.SlotState{Exists: true, ConfirmedLSN: 150, LogEnd: 900}
	for name, c := range map[string]struct {
		was, is  pgsource.Identity
		state    pgsource.SlotState
		created  bool
		want     string
		promoted bool
	}{
		"the slot where it was":   {was: first, is: first, state: pgsource.SlotState{Exists: true, ConfirmedLSN: 200, LogEnd: 200}},
		"a slot that lags behind": {was: first, is: first, state: pgsource.SlotState{Exists: true, ConfirmedLSN: 150, LogEnd: 200}},
		"a slot that is ahead":    {was: first, is: first, state: pgsource.SlotState{Exists: true, ConfirmedLSN: 201, LogEnd: 210}, want: "was confirmed up to"},
		"a new slot":              {was: first, is: first, state: pgsource.SlotState{Exists: true, ConfirmedLSN: 300, LogEnd: 300}, created: true, want: "had been dropped"},
		// A copy of the server from before: what it writes now lies at positions that are known, and would be skipped.
		"an older copy":               {was: first, is: first, state: pgsource.SlotState{Exists: true, ConfirmedLSN: 150, LogEnd: 199}, want: "earlier time"},
		"a new slot on an older copy": {was: first, is: first, state: pgsource.SlotState{Exists: true, ConfirmedLSN: 199, LogEnd: 199}, created: true, want: "earlier time"},
		"another cluster":             {was: first, is: other, state: fine, want: "the frontiers in Kafka tell of 7/1/d"},
		"another database":            {was: first, is: elsewhere, state: fine, want: "the frontiers in Kafka tell of 7/1/d"},

		"a promotion behind all that Kafka has":     {was: first, is: promoted(200), state: fine, promoted: true},
		"a promotion before something Kafka has":    {was: first, is: promoted(199), state: fine, want: "Kafka holds changes up to 0/C8"},
		"a promotion without the slot":              {was: first, is: promoted(500), state: fine, created: true, want: "is not on it"},
		"a promotion, and a slot that is ahead":     {was: first, is: promoted(500), state: pgsource.SlotState{Exists: true, ConfirmedLSN: 201, LogEnd: 900}, want: "was confirmed up to"},
		"the same timeline as before":               {was: promoted(80), is: promoted(80), state: fine},
		"the same number, promoted somewhere else":  {was: promoted(80), is: promoted(90), state: fine, want: "does not come from that one"},
		"two promotions":                            {was: first, is: promoted(300, 400), state: fine, promoted: true},
		"two promotions, the first one too early":   {was: first, is: promoted(190, 400), state: fine, want: "up to 0/C8"},
		"a second promotion":                        {was: promoted(80), is: promoted(80, 300), state: fine, promoted: true},
		"a second promotion of another branch":      {was: promoted(80), is: promoted(90, 300), state: fine, want: "does not come from that one"},
		"the former primary":                        {was: promoted(80), is: first, state: fine, want: "a former primary"},
		"a history that was written without a fork": {was: pgsource.Identity{SystemID: "7", Timeline: 2, Database: database}, is: promoted(80, 300), state: fine, promoted: true},
		"a timeline that skips the one Kafka is at": {was: promoted(80), is: pgsource.Identity{SystemID: "7", Timeline: 3, Database: database, Ancestors: []pgsource.Ancestor{{Timeline: 1, End: 300}}}, state: fine, want: "does not come from that one"},
	} {
		resumed := frontier.NewState()
		resumed.Offset, resumed.At, resumed.Confirm, resumed.Source = 9, change.Position{Epoch: 1, LSN: 190}, 200, history(&c.was)
		o := &opening{Reader: &Reader{cfg: Config{Slot: "s"}}, identity: c.is, state: c.state, created: c.created, resumed: resumed}
		promoted, err := o.continues()
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) || err == nil && promoted != c.promoted {
			t.Errorf("%s: want %q, %v, got %v, %v", name, c.want, c.promoted, err, promoted)
		}
		if err != nil && (fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "--new-history")) {
			t.Errorf("%s: no way on in %q", name, fault.HintOf(err))
		}
	}
}
