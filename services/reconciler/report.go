package reconciler

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"segue/pkg/change"
	"segue/pkg/reconcile"
)

// Report is the outcome of one comparison, for people and programs.
type Report struct {
	Migration string            `json:"migration"`
	Verdict   reconcile.Verdict `json:"verdict"`
	Reason    string            `json:"reason,omitempty"` // why the comparison as a whole came to nothing
	Started   time.Time         `json:"started"`
	Seconds   float64           `json:"seconds"`
	Rounds    int               `json:"rounds"`
	Lost      int               `json:"lost_rounds"` // rounds that told nothing: a restart, a watermark that did not come
	Tables    []TableReport     `json:"tables"`
}

// TableReport is the outcome for one target table.
type TableReport struct {
	Table    string            `json:"table"`
	Sources  []string          `json:"sources"`
	Verdict  reconcile.Verdict `json:"verdict"`
	Reason   string            `json:"reason,omitempty"`
	Rows     int64             `json:"rows"`             // expected rows that were compared
	Left     int64             `json:"left"`             // about how many were not
	Coverage float64           `json:"coverage_percent"` // 100 only where nothing is left
	From     string            `json:"from,omitempty"`   // the positions that it holds at
	To       string            `json:"to,omitempty"`
	Rounds   int               `json:"rounds"`
	Seconds  float64           `json:"seconds"`

	Missing   int64     `json:"missing"`
	Extra     int64     `json:"extra"`
	Different int64     `json:"different"`
	Doubled   int64     `json:"doubled"`
	Examples  []Example `json:"examples,omitempty"`

	// Repair is what has to be asked for to mend the table, where Config.Keep wants it told.
	Repair Repair `json:"-"`
}

// Example is one differing row, by its target key.
type Example struct {
	Kind reconcile.Kind `json:"kind"`
	Key  []KeyValue     `json:"key"`
}

// KeyValue is one column of a key. Value is null for NULL.
type KeyValue struct {
	Column string  `json:"column"`
	Value  *string `json:"value"`
}

// String is column=value, column=value.
func (e Example) String() string {
	parts := make([]string, len(e.Key))
	for i, k := range e.Key {
		parts[i] = k.Column + "=NULL"
		if k.Value != nil {
			parts[i] = k.Column + "=" + *k.Value
		}
	}
	return strings.Join(parts, ", ")
}

// report tells what is known now.
func (c *Comparer) report(started, now time.Time) Report {
	r := Report{Migration: string(c.cfg.Spec.Name), Started: started.UTC(), Seconds: now.Sub(started).Seconds(), Rounds: c.rounds, Lost: c.lost}
	for _, u := range c.units {
		t := u.report()
		t.Seconds = u.seconds(started, now)
		if last := len(r.Tables) - 1; last >= 0 && r.Tables[last].Table == t.Table {
			r.Tables[last].join(t)
			continue
		}
		r.Tables = append(r.Tables, t)
	}
	var verdicts []reconcile.Verdict
	for _, t := range r.Tables {
		verdicts = append(verdicts, t.Verdict)
	}
	r.Verdict = reconcile.Overall(verdicts)
	return r
}

// maxExamples bounds a table's examples.
const maxExamples = 20

// join adds another segment of the same table.
func (t *TableReport) join(o TableReport) {
	t.Verdict = reconcile.Overall([]reconcile.Verdict{t.Verdict, o.Verdict})
	if t.Reason == "" {
		t.Reason = o.Reason
	}
	t.Rows, t.Left = t.Rows+o.Rows, t.Left+o.Left
	t.Coverage = reconcile.Coverage(t.Rows, t.Left, t.Coverage == 100 && o.Coverage == 100)
	t.From, t.To = earlier(t.From, o.From), later(t.To, o.To)
	t.Rounds, t.Seconds = t.Rounds+o.Rounds, max(t.Seconds, o.Seconds)
	t.Missing, t.Extra, t.Different, t.Doubled = t.Missing+o.Missing, t.Extra+o.Extra, t.Different+o.Different, t.Doubled+o.Doubled
	t.Examples = append(t.Examples, o.Examples[:min(len(o.Examples), maxExamples-len(t.Examples))]...)
	t.Repair.join(o.Repair)
}

func earlier(a, b string) string {
	p, err1 := change.ParsePosition(a)
	q, err2 := change.ParsePosition(b)
	if err1 != nil || err2 == nil && q.Before(p) {
		return b
	}
	return a
}

func later(a, b string) string {
	if a == "" || b == "" || earlier(a, b) == a {
		return cmp.Or(b, a)
	}
	return a
}

func (u *unit) seconds(started, now time.Time) float64 {
	if u.finished.IsZero() {
		return now.Sub(started).Seconds()
	}
	return u.finished.Sub(started).Seconds()
}

func (u *unit) report() TableReport {
	t := TableReport{Table: u.shape.Table.Name.String(), Verdict: reconcile.Unknown, Reason: u.failed}
	for _, f := range u.feeders {
		t.Sources = append(t.Sources, f.source.Name.String())
	}
	if u.state == nil {
		return t
	}
	r := u.state.Result()
	if u.failed == "" {
		t.Verdict, t.Reason = r.Verdict, r.Reason
	}
	t.Rows, t.Left, t.Coverage, t.Rounds = r.Compared, r.Left, r.Coverage, r.Rounds
	if r.Rounds > 0 && !r.To.Zero() {
		t.From, t.To = r.From.String(), r.To.String()
	}
	t.Missing, t.Extra, t.Different, t.Doubled = r.Drift.Missing, r.Drift.Extra, r.Drift.Different, r.Drift.Doubled
	for _, f := range r.Drift.Examples[:min(len(r.Drift.Examples), maxExamples)] {
		t.Examples = append(t.Examples, u.example(f))
	}
	t.Repair = u.repair(r.Drift)
	return t
}

func (u *unit) example(f reconcile.Finding) Example {
	e := Example{Kind: f.Kind}
	if u.shape.Lots { // a row without key has no name but its hash
		e.Key = []KeyValue{{Column: "md5", Value: &f.Key}}
		return e
	}
	row, err := reconcile.ParseCanonical(f.Key)
	if err != nil {
		return e
	}
	for i, k := range u.shape.Key {
		if i >= len(row) {
			break
		}
		kv := KeyValue{Column: u.shape.Table.Columns[u.shape.Columns[k]].Name}
		if !row[i].IsNull() {
			s := string(row[i].Bytes())
			kv.Value = &s
		}
		e.Key = append(e.Key, kv)
	}
	return e
}

// Write shows the report as a table for people.
func (r Report) Write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "TABLE\tVERDICT\tROWS\tCOVERAGE\tMISSING\tEXTRA\tDIFFERENT\tAT\tSECONDS")
	for _, t := range r.Tables {
		at := t.To
		if t.From != t.To {
			at = t.From + " to " + t.To
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s\t%.1f\n",
			t.Table, t.Verdict, t.Rows, percent(t.Coverage), t.Missing, t.Extra, t.Different+t.Doubled, at, t.Seconds)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, t := range r.Tables {
		if t.Reason != "" {
			fmt.Fprintf(&b, "%s: %s\n", t.Table, t.Reason)
		}
		for _, e := range t.Examples {
			fmt.Fprintf(&b, "%s: %s: %s\n", t.Table, e.Kind, e)
		}
		if more := t.Missing + t.Extra + t.Different + t.Doubled - int64(len(t.Examples)); more > 0 {
			fmt.Fprintf(&b, "%s: and %d more\n", t.Table, more)
		}
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, "%s\n", r.Reason)
	}
	fmt.Fprintf(&b, "%s: %s after %.1f s, rounds: %d\n", r.Migration, r.Verdict, r.Seconds, r.Rounds)
	_, err := io.WriteString(w, b.String())
	return err
}

func percent(v float64) string {
	return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.2f", v), "0"), ".0") + " %"
}
