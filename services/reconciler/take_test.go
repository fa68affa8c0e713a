package reconciler

import (
	"testing"

	"segue/pkg/reconcile"
)

// P7: a comparison that the time cut off says nothing; the difference that an earlier one proved stands.
func TestUnknownNeverReplacesAProvenDifference(t *testing.T) {
	for _, c := range []struct{ first, later, want reconcile.Verdict }{
		{reconcile.Differ, reconcile.Unknown, reconcile.Differ},
		{reconcile.Differ, reconcile.Pass, reconcile.Pass},
		{reconcile.Unknown, reconcile.Differ, reconcile.Differ},
		{reconcile.Unknown, reconcile.Pass, reconcile.Pass},
		{reconcile.Unknown, reconcile.Unknown, reconcile.Unknown},
	} {
		report := func(v reconcile.Verdict) Report {
			return Report{Verdict: v, Tables: []TableReport{{Table: "a.b", Verdict: v}}}
		}
		var whole Report
		whole.take(report(c.first))
		whole.take(report(c.later))
		if whole.Verdict != c.want || whole.Tables[0].Verdict != c.want {
			t.Errorf("%s, then %s: %s with table %s, want %s", c.first, c.later, whole.Verdict, whole.Tables[0].Verdict, c.want)
		}
	}
}
