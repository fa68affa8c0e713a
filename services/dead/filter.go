package dead

import (
	"fmt"
	"slices"
	"time"

	"segue/pkg/change"
	"segue/pkg/migration"
	"segue/pkg/pgtarget"
)

// Filter says which parked rows are meant. What it does not name it leaves open.
type Filter struct {
	Tables []migration.Pattern // of source tables: one of them
	Codes  []string            // one of them
	Keys   []change.Row        // one of them
	Cause  string              // the position that they wait for
	Since  time.Time           // parked then or later
}

// Empty says that all rows are meant.
func (f *Filter) Empty() bool {
	return len(f.Tables) == 0 && len(f.Codes) == 0 && len(f.Keys) == 0 && f.Cause == "" && f.Since.IsZero()
}

// Match says whether a parked row is meant.
func (f *Filter) Match(p *pgtarget.Parked) bool {
	return f.table(p) && (len(f.Codes) == 0 || slices.Contains(f.Codes, p.Fault.Code)) && f.key(p.Key) &&
		(f.Cause == "" || f.Cause == p.Cause) && !p.Parked.Before(f.Since)
}

func (f *Filter) table(p *pgtarget.Parked) bool {
	return len(f.Tables) == 0 || slices.ContainsFunc(f.Tables, func(t migration.Pattern) bool { return t.Match(p.Source) })
}

func (f *Filter) key(key change.Row) bool {
	return len(f.Keys) == 0 || slices.ContainsFunc(f.Keys, func(k change.Row) bool { return same(k, key) })
}

// MatchPending says the same of a row that was asked for. It has neither code nor cause.
func (f *Filter) MatchPending(p *pgtarget.Pending) bool {
	return f.table(&pgtarget.Parked{Source: p.Source}) && f.key(p.Key) && !p.Asked.Before(f.Since)
}

// Take returns those of a list that are meant.
func (f *Filter) Take(list []pgtarget.Parked) []pgtarget.Parked {
	var out []pgtarget.Parked
	for i := range list {
		if f.Match(&list[i]) {
			out = append(out, list[i])
		}
	}
	return out
}

// Since reads a moment: RFC 3339, a date with or without a time of day (in now's place), or how long ago it is.
func Since(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		if d < 0 {
			return time.Time{}, fmt.Errorf("%s: it is in the future", text)
		}
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, form := range []string{time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 2h, nor a time such as 2026-01-31 15:04 or 2026-01-31T15:04:05Z", text)
}
