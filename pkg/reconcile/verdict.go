package reconcile

import (
	"math"

	"segue/pkg/change"
)

// Verdict is what a comparison came to.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "pass"    // every row was compared, and all agree
	Differ  Verdict = "differ"  // at least one row is proved to differ
	Unknown Verdict = "unknown" // neither is proved
)

// Finding is one differing row. Its key is for the eyes of who asked; it never goes to logs or metrics (P10).
type Finding struct {
	Key  string // the target key's canonical text
	Kind Kind
}

// Kind says how a row differs.
type Kind string

// The kinds of drift.
const (
	Missing   Kind = "missing"   // expected, and not on the target
	Extra     Kind = "extra"     // on the target, and not expected
	Different Kind = "different" // on both, with other values
	Doubled   Kind = "doubled"   // several source rows make the same target row
)

// maxFindings bounds the examples that are kept for a table where nobody asks for more; the counts are exact.
const maxFindings = 20

// Drift is what was proved to differ in one table.
type Drift struct {
	Missing, Extra, Different, Doubled int64
	Examples                           []Finding

	keep int // bounds Examples where it is more than maxFindings
}

// Rows is how many rows differ.
func (d *Drift) Rows() int64 { return d.Missing + d.Extra + d.Different + d.Doubled }

func (d *Drift) judge(key string, expected, actual Sum) {
	kind, count := Different, &d.Different
	switch {
	case expected == actual && expected.Rows <= 1:
		return
	case expected.Rows > 1:
		kind, count = Doubled, &d.Doubled
	case actual.Rows == 0:
		kind, count = Missing, &d.Missing
	case expected.Rows == 0:
		kind, count = Extra, &d.Extra
	}
	*count++
	if len(d.Examples) < max(d.keep, maxFindings) {
		d.Examples = append(d.Examples, Finding{Key: key, Kind: kind})
	}
}

// judgeLot judges equal rows: what counts is how many there are.
func (d *Drift) judgeLot(key string, expected, actual Sum) {
	more := actual.Rows - expected.Rows
	if more == 0 {
		return
	}
	kind := Extra
	if more > 0 {
		d.Extra += more
	} else {
		kind = Missing
		d.Missing -= more
	}
	if len(d.Examples) < max(d.keep, maxFindings) {
		d.Examples = append(d.Examples, Finding{Key: key, Kind: kind})
	}
}

// Result is what is known of one table.
type Result struct {
	Verdict  Verdict
	Reason   string          // why it is unknown, or what was left open
	Compared int64           // rows that the source makes and that were compared
	Left     int64           // about how many were not
	Coverage float64         // percent; 100 only where nothing is left
	From, To change.Position // the first and the last position that it holds at
	Rounds   int
	Drift    Drift
}

// Result judges what is known so far. Pass wants every row compared; a single proved difference is enough for Differ.
func (u *Unit) Result() Result {
	r := Result{
		Verdict: Unknown, Reason: u.reason, Compared: u.compared, Left: u.left(),
		Coverage: 100, From: u.from, To: u.to, Rounds: u.rounds, Drift: u.drift,
	}
	if !u.Done() {
		r.Coverage = Coverage(r.Compared, r.Left, false)
		if r.Reason == "" {
			r.Reason = "not all rows were compared"
		}
	}
	switch {
	case u.drift.Rows() > 0:
		r.Verdict = Differ
	case u.Done():
		r.Verdict, r.Reason = Pass, ""
	}
	return r
}

// Coverage is the percentage of rows that were compared. It is rounded down, so that 100 is never shown while a row is left.
func Coverage(compared, left int64, all bool) float64 {
	if all {
		return 100
	}
	if compared+left == 0 {
		return 0
	}
	return math.Min(math.Floor(10_000*float64(compared)/float64(compared+left))/100, 99.99)
}

// Overall is the verdict on all tables: Pass only where each passes, Differ where any differs.
func Overall(verdicts []Verdict) Verdict {
	out := Pass
	for _, v := range verdicts {
		if v == Differ {
			return Differ
		}
		if v != Pass {
			out = Unknown
		}
	}
	if len(verdicts) == 0 {
		return Unknown
	}
	return out
}
