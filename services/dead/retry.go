package dead

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"segue/pkg/pgtarget"
	"segue/pkg/table"
)

// Round is what may be asked for at once: rows of one table of which none waits for another one of them, or of a later round.
type Round struct {
	Table table.Name
	Rows  []pgtarget.Parked
}

// Rounds orders parked rows for being read again: those that others wait for first, and among those that do not wait for each other in
// the order of their tables.
func Rounds(list []pgtarget.Parked, tables []table.Name) []Round {
	type place struct{ level, table, row int }
	var places []place
	for i, level := range levels(list) {
		if t := slices.Index(tables, list[i].Source); t >= 0 {
			places = append(places, place{level, t, i})
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.table, b.table), cmp.Compare(a.row, b.row))
	})
	var out []Round
	for i, p := range places {
		if i == 0 || places[i-1].level != p.level || places[i-1].table != p.table {
			out = append(out, Round{Table: tables[p.table]})
		}
		last := &out[len(out)-1]
		last.Rows = append(last.Rows, list[p.row])
	}
	return out
}

// levels is how many rows of the list each one waits for, one behind the other. A change of the key parks two rows at one position: who
// waits for that waits for both.
func levels(list []pgtarget.Parked) []int {
	at := map[string][]int{}
	for i := range list {
		at[list[i].At.String()] = append(at[list[i].At.String()], i)
	}
	out := make([]int, len(list))
	for i := range out {
		out[i] = -1
	}
	var level func(i int) int
	level = func(i int) int {
		if out[i] >= 0 {
			return out[i]
		}
		out[i] = 0 // a ring, which positions do not make, ends here
		deepest := 0
		if list[i].Cause != list[i].At.String() {
			for _, j := range at[list[i].Cause] {
				deepest = max(deepest, level(j)+1)
			}
		}
		out[i] = deepest
		return deepest
	}
	for i := range list {
		level(i)
	}
	return out
}

// Retried is what became of rows that were read again.
type Retried struct {
	Migration string         `json:"migration"`
	Waited    bool           `json:"waited"`         // until the target had what was read
	Late      bool           `json:"late,omitempty"` // the time was over before that
	Reason    string         `json:"reason,omitempty"`
	Seconds   float64        `json:"seconds"`
	Tables    []RetriedTable `json:"tables"`
}

// RetriedTable is the outcome for one source table.
type RetriedTable struct {
	Table     string         `json:"table"`
	Asked     int            `json:"asked"`
	Applied   int            `json:"applied"`
	Parked    int            `json:"parked"` // again
	Discarded int            `json:"discarded,omitempty"`
	Unknown   int            `json:"unknown,omitempty"` // not waited for, or not in time
	Why       map[string]int `json:"why,omitempty"`     // the codes of those that are parked again
	Reason    string         `json:"reason,omitempty"`  // why nothing was asked for
}

// Outcome tells what became of rows that were asked for, all of them at once or not at all: before is how they were, now what is parked,
// and gone says of which keys people gave up meanwhile.
func (r *Retried) Outcome(before, now []pgtarget.Parked, gone func(*pgtarget.Parked) bool) {
	key := func(p *pgtarget.Parked) string { return p.Source.String() + " " + KeyText(p.Key) }
	parked := map[string]*pgtarget.Parked{}
	for i := range now {
		parked[key(&now[i])] = &now[i]
	}
	for i := range before {
		t := r.Table(before[i].Source)
		switch p := parked[key(&before[i])]; {
		case p != nil:
			t.Parked++
			if t.Why == nil {
				t.Why = map[string]int{}
			}
			t.Why[p.Fault.Code]++
		case gone(&before[i]):
			t.Discarded++
		default:
			t.Applied++
		}
	}
}

// Table is the entry of a table, which it makes where there is none.
func (r *Retried) Table(name table.Name) *RetriedTable {
	for i := range r.Tables {
		if r.Tables[i].Table == name.String() {
			return &r.Tables[i]
		}
	}
	r.Tables = append(r.Tables, RetriedTable{Table: name.String()})
	return &r.Tables[len(r.Tables)-1]
}

// Left is how many rows are parked still, as far as that is known.
func (r *Retried) Left() (parked int) {
	for i := range r.Tables {
		parked += r.Tables[i].Parked
	}
	return parked
}

// Write shows it for people.
func (r *Retried) Write(w io.Writer) error {
	var b strings.Builder
	switch {
	case len(r.Tables) == 0 && r.Late:
	case len(r.Tables) == 0:
		b.WriteString("no parked row matches: nothing was asked for (segue dead list shows what is parked)\n")
	default:
		tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(tw, "TABLE\tASKED\tAPPLIED\tPARKED AGAIN\tWHY")
		for i := range r.Tables {
			t := &r.Tables[i]
			applied, parked := fmt.Sprint(t.Applied), fmt.Sprint(t.Parked)
			if t.Unknown > 0 {
				applied, parked = "-", "-"
			}
			_, _ = fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\n", oneLine(t.Table), t.Asked, applied, parked, cmp.Or(why(t.Why), "-"))
		}
		_ = tw.Flush()
	}
	for i := range r.Tables {
		t := &r.Tables[i]
		if t.Reason != "" {
			fmt.Fprintf(&b, "%s: %s\n", oneLine(t.Table), t.Reason)
		}
		if t.Discarded > 0 {
			fmt.Fprintf(&b, "%s: %d given up by somebody meanwhile\n", oneLine(t.Table), t.Discarded)
		}
	}
	if parked := r.Left(); parked > 0 {
		fmt.Fprintf(&b, "segue dead list says why %s parked again: mend that, and retry\n", rows(parked))
	}
	if r.Reason != "" {
		b.WriteString(r.Reason + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func why(codes map[string]int) string {
	var out []string
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		out = append(out, fmt.Sprintf("%s %d", oneLine(cmp.Or(code, "?")), codes[code]))
	}
	return strings.Join(out, ", ")
}
