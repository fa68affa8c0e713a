package dead

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"segue/pkg/change"
	"segue/pkg/pgtarget"
	"segue/services/status"
)

// List is what is parked, for people and programs.
type List struct {
	Migration string    `json:"migration"`
	At        string    `json:"at"` // where the target stands
	Applied   time.Time `json:"applied"`
	Read      time.Time `json:"read"`
	Parked    int       `json:"parked"`  // all of the migration
	Matched   int       `json:"matched"` // of them, by the filter
	Rows      []Record  `json:"rows"`
	Groups    []Group   `json:"groups,omitempty"`
	Pending   []Asked   `json:"pending,omitempty"`

	elsewhere []string // tables of rows that do not match, where none does
	grouped   bool
	chosen    bool // somebody asked for groups
	pending   bool
	limit     int // of pending rows in a table; 0: all
}

// Group counts rows that were parked for the same reason.
type Group struct {
	Table  string    `json:"table"`
	Code   string    `json:"code"`
	Reason string    `json:"reason"`
	Rows   int       `json:"rows"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// Asked is a pending row.
type Asked struct {
	Table    string    `json:"table"`
	Key      []*string `json:"key"`
	Position string    `json:"position"`
	Reason   string    `json:"reason"`
	Time     time.Time `json:"time"`
}

// Wanted says what of a list is shown.
type Wanted struct {
	Filter  Filter
	Limit   int // rows; 0: all
	Groups  bool
	Pending bool
	// Many is from how many rows on groups are shown where nobody asked for rows; 0: never.
	Many int
}

// MakeList makes the list of what was read.
func MakeList(p *pgtarget.Progress, list []pgtarget.Parked, pending []pgtarget.Pending, w Wanted, now time.Time) List {
	matched := w.Filter.Take(list)
	l := List{
		Migration: p.Migration, At: p.At.String(), Applied: p.Applied.UTC(), Read: now.UTC(), Parked: len(list), Matched: len(matched),
		Rows: []Record{}, chosen: w.Groups, pending: w.Pending, limit: w.Limit,
	}
	if len(matched) == 0 {
		for i := range list {
			if name := list[i].Source.String(); !slices.Contains(l.elsewhere, name) {
				l.elsewhere = append(l.elsewhere, name)
			}
		}
	}
	l.grouped = w.Groups || w.Many > 0 && len(matched) > w.Many && w.Filter.Empty()
	if l.grouped {
		l.Groups = groups(matched)
	} else {
		shown := matched
		if w.Limit > 0 && len(shown) > w.Limit {
			shown = shown[:w.Limit]
		}
		for i := range shown {
			l.Rows = append(l.Rows, RecordOf(p.Migration, &shown[i]))
		}
	}
	for i := range pending {
		if n := &pending[i]; w.Pending && w.Filter.MatchPending(n) {
			l.Pending = append(l.Pending, Asked{
				Table: n.Source.String(), Key: n.Key.Texts(), Position: n.At.String(), Reason: n.Reason, Time: n.Asked.UTC(),
			})
		}
	}
	return l
}

// groups counts, largest first.
func groups(list []pgtarget.Parked) []Group {
	type what struct{ table, code, reason string }
	places := map[what]int{}
	var out []Group
	for i := range list {
		p := &list[i]
		// Some texts name the position of the change, which is each row's own.
		w := what{p.Source.String(), p.Fault.Code, strings.Replace(p.Fault.Text, " at "+p.At.String(), "", 1)}
		at, ok := places[w]
		if !ok {
			at = len(out)
			places[w] = at
			out = append(out, Group{Table: w.table, Code: w.code, Reason: w.reason, First: p.Parked.UTC(), Last: p.Parked.UTC()})
		}
		g := &out[at]
		g.Rows++
		if p.Parked.Before(g.First) {
			g.First = p.Parked.UTC()
		}
		if p.Parked.After(g.Last) {
			g.Last = p.Parked.UTC()
		}
	}
	slices.SortStableFunc(out, func(a, b Group) int {
		return cmp.Or(-cmp.Compare(a.Rows, b.Rows), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Code, b.Code))
	})
	return out
}

// Write shows the list as a table.
func (l *List) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s parked; the target is at %s, applied %s ago\n", l.Migration, rows(l.Parked), l.At, status.Age(l.Read.Sub(l.Applied)))
	if l.Matched > 0 {
		b.WriteString("\n")
		l.table(&b)
	}
	switch {
	case l.Matched == 0 && l.Parked > 0:
		fmt.Fprintf(&b, "none of them matches; they are of %s\n", strings.Join(l.elsewhere, ", "))
	case l.grouped && !l.chosen:
		fmt.Fprintf(&b, "\nthey are many, so they are counted by reason; rows: --limit N, or --table, --code, --key, --cause, --since\n")
	case !l.grouped && len(l.Rows) < l.Matched:
		fmt.Fprintf(&b, "\n%d of these %d are shown; all: --limit 0, counted by reason: --groups\n", len(l.Rows), l.Matched)
	}
	if l.pending {
		l.asked(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *List) table(b *strings.Builder) {
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	if l.grouped {
		_, _ = fmt.Fprintln(tw, "TABLE\tCODE\tROWS\tFIRST\tLAST\tREASON")
		for _, g := range l.Groups {
			_, _ = fmt.Fprintf(tw, "%s\t%s\t%d\t%s ago\t%s ago\t%s\n", oneLine(g.Table), oneLine(g.Code), g.Rows,
				status.Age(l.Read.Sub(g.First)), status.Age(l.Read.Sub(g.Last)), oneLine(g.Reason))
		}
		_ = tw.Flush()
		return
	}
	_, _ = fmt.Fprintln(tw, "TABLE\tKEY\tOP\tCODE\tSIZE\tCHANGES\tPARKED\tPOSITION\tCAUSE\tREASON")
	for i := range l.Rows {
		r := &l.Rows[i]
		size := "-"
		if r.Size > 0 {
			size = status.Size(r.Size)
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%s ago\t%s\t%s\t%s\n", oneLine(r.Table), KeyText(change.RowOf(r.Key)), r.Op, oneLine(r.Code), size, r.Changes,
			status.Age(l.Read.Sub(r.Time)), r.Position, cmp.Or(r.Cause, "-"), oneLine(r.Reason))
	}
	_ = tw.Flush()
}

func (l *List) asked(b *strings.Builder) {
	if len(l.Pending) == 0 {
		b.WriteString("\nno row is pending\n")
		return
	}
	fmt.Fprintf(b, "\n%s pending: asked for, and not here yet\n", rows(len(l.Pending)))
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "TABLE\tKEY\tASKED\tPOSITION\tREASON")
	shown := l.Pending
	if l.limit > 0 && len(shown) > l.limit {
		shown = shown[:l.limit]
	}
	for _, n := range shown {
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s ago\t%s\t%s\n", oneLine(n.Table), KeyText(change.RowOf(n.Key)), status.Age(l.Read.Sub(n.Time)), n.Position, oneLine(n.Reason))
	}
	_ = tw.Flush()
	if len(shown) < len(l.Pending) {
		fmt.Fprintf(b, "\n%d of these %d are shown; all: --limit 0\n", len(shown), len(l.Pending))
	}
}

// oneLine is a text as one line of a table: nothing in it drives a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.Join(strings.Fields(s), " "))
}

// rows is a number of rows with its verb.
func rows(n int) string {
	if n == 1 {
		return "1 row is"
	}
	return fmt.Sprintf("%d rows are", n)
}
