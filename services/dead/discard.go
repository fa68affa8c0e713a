package dead

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"segue/pkg/pgtarget"
)

// Discarded is what was given up.
type Discarded struct {
	Migration string     `json:"migration"`
	Reason    string     `json:"reason"`
	Who       string     `json:"who"`
	Rows      []Record   `json:"rows"`
	Waiting   []Depended `json:"waiting,omitempty"` // still parked, for what was given up

	given []pgtarget.Parked
}

// Depended counts rows that wait for a change that was given up.
type Depended struct {
	Cause string `json:"cause"`
	Rows  int    `json:"rows"`
}

// MakeDiscarded tells of rows that were given up; left are those that are parked still.
func MakeDiscarded(migration, who, reason string, given, left []pgtarget.Parked) Discarded {
	d := Discarded{Migration: migration, Who: who, Reason: reason, Rows: []Record{}, given: given}
	gone := map[string]bool{}
	for i := range given {
		d.Rows = append(d.Rows, RecordOf(migration, &given[i]))
		gone[given[i].At.String()] = true
	}
	for i := range left {
		cause := left[i].Cause
		if !gone[cause] {
			continue
		}
		at := slices.IndexFunc(d.Waiting, func(w Depended) bool { return w.Cause == cause })
		if at < 0 {
			at = len(d.Waiting)
			d.Waiting = append(d.Waiting, Depended{Cause: cause})
		}
		d.Waiting[at].Rows++
	}
	return d
}

// Write shows it for people.
func (d *Discarded) Write(w io.Writer) error {
	var b strings.Builder
	if len(d.Rows) == 0 {
		b.WriteString("no parked row matches: nothing is given up (segue dead list shows what is parked)\n")
	} else {
		tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(tw, "TABLE\tCODE\tGIVEN UP\tPARKED FOR")
		for _, g := range groups(d.given) {
			_, _ = fmt.Fprintf(tw, "%s\t%s\t%d\t%s\n", oneLine(g.Table), oneLine(g.Code), g.Rows, oneLine(g.Reason))
		}
		_ = tw.Flush()
		b.WriteString("the target keeps what it has under their keys; segue.parked_log says who gave them up and why\n")
	}
	for _, o := range d.Waiting {
		fmt.Fprintf(&b, "%s parked for one of them still: segue dead list --cause %s\n", rows(o.Rows), o.Cause)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
