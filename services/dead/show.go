package dead

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"segue/pkg/change"
	"segue/pkg/pgtarget"
	"segue/pkg/table"
	"segue/services/status"
)

// Shown is all that is known of one row.
type Shown struct {
	Migration string    `json:"migration"`
	Table     string    `json:"table"`
	Key       []*string `json:"key"`
	At        string    `json:"at"` // where the target stands
	Read      time.Time `json:"read"`
	Parked    *Record   `json:"parked,omitempty"`
	Cause     *Record   `json:"cause,omitempty"` // the parked row that it waits for
	Pending   *Asked    `json:"pending,omitempty"`
	History   []Record  `json:"history"`
	Record    Part      `json:"record"` // of the first change that was set aside
	Source    Part      `json:"source"`
	Mapped    Part      `json:"mapped"`
	Target    Part      `json:"target"`

	revealed bool
}

// Part is a row at one place, or why it is not shown.
type Part struct {
	Place  string `json:"place,omitempty"`
	Op     string `json:"op,omitempty"`
	Reason string `json:"reason,omitempty"`
	Before []Cell `json:"before,omitempty"`
	Row    []Cell `json:"row,omitempty"`
}

// Cell is one column's value. Without Value it is masked, NULL or was not sent: State says which.
type Cell struct {
	Column string  `json:"column"`
	Type   string  `json:"type"`
	State  string  `json:"state"` // value, null, not sent
	Length int     `json:"length"`
	Value  *string `json:"value,omitempty"`
}

// MakeShown begins with what the target has written down of a row.
func MakeShown(p *pgtarget.Progress, source table.Name, key change.Row, history []pgtarget.Logged, now time.Time, reveal bool) Shown {
	s := Shown{Migration: p.Migration, Table: source.String(), Key: key.Texts(), At: p.At.String(), Read: now.UTC(), History: []Record{}, revealed: reveal}
	for i := range history {
		s.History = append(s.History, RecordOfLine(p.Migration, &history[i]))
	}
	return s
}

// SetParked says how the row is parked now, and for which other one, from the whole list. It returns its entry, nil: there is none.
func (s *Shown) SetParked(list []pgtarget.Parked) (entry *pgtarget.Parked) {
	for i := range list {
		if list[i].Source.String() == s.Table && same(list[i].Key, change.RowOf(s.Key)) {
			r := RecordOf(s.Migration, &list[i])
			entry, s.Parked = &list[i], &r
		}
	}
	for i := range list {
		if entry != nil && entry.Cause != "" && list[i].At.String() == entry.Cause && &list[i] != entry {
			r := RecordOf(s.Migration, &list[i])
			s.Cause = &r
			break
		}
	}
	return entry
}

// SetPending says that it was asked for.
func (s *Shown) SetPending(p *pgtarget.Pending) {
	s.Pending = &Asked{Table: p.Source.String(), Key: p.Key.Texts(), Position: p.At.String(), Reason: p.Reason, Time: p.Asked.UTC()}
}

// Cells are a row's, in the order of the columns; places are the columns' ordinals, nil: all.
func (s *Shown) Cells(t *table.Table, places []int, row change.Row) []Cell {
	var out []Cell
	for i := range row {
		at := i
		if places != nil {
			at = places[i]
		}
		c := Cell{Column: t.Columns[at].Name, Type: t.Columns[at].Type, State: "value", Length: len(row[i].Bytes())}
		switch {
		case row[i].IsAbsent():
			c.State = "not sent"
		case row[i].IsNull():
			c.State = "null"
		case s.revealed:
			v := string(row[i].Bytes())
			c.Value = &v
		}
		out = append(out, c)
	}
	return out
}

// text shows a cell: its value, or its length alone.
func (c *Cell) text() string {
	switch {
	case c.State == "null":
		return "NULL"
	case c.State != "value":
		return c.State
	case c.Value == nil && c.Length == 1:
		return "(1 byte)"
	case c.Value == nil:
		return fmt.Sprintf("(%d bytes)", c.Length)
	}
	return quote(*c.Value)
}

// Write shows it for people.
func (s *Shown) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s; the target is at %s\n\n", oneLine(s.Table), KeyText(change.RowOf(s.Key)), s.At)
	s.entry(&b)
	s.history(&b)
	s.Record.write(&b, "change")
	s.Source.write(&b, "source")
	s.Mapped.write(&b, "mapping")
	s.Target.write(&b, "target")
	if !s.revealed {
		b.WriteString("\nvalues are masked; --reveal shows them\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Shown) entry(b *strings.Builder) {
	if p := s.Parked; p != nil {
		fmt.Fprintf(b, "parked   %s ago: %s, %s at %s\n         %s\n", status.Age(s.Read.Sub(p.Time)), oneLine(p.Code), p.Op, p.Position, oneLine(p.Reason))
		if p.Size > 0 {
			fmt.Fprintf(b, "         its record is of %s\n", status.Size(p.Size))
		}
		if p.Changes > 1 {
			fmt.Fprintf(b, "         %d changes are set aside, the newest at %s\n", p.Changes, p.LastPosition)
		}
		if p.Cause != "" {
			fmt.Fprintf(b, "         it waits for %s\n", s.cause())
		}
	} else {
		b.WriteString("parked   no\n")
	}
	if n := s.Pending; n != nil {
		fmt.Fprintf(b, "pending  asked for %s ago at %s: %s\n", status.Age(s.Read.Sub(n.Time)), n.Position, oneLine(n.Reason))
	}
}

// cause names the row that the row waits for.
func (s *Shown) cause() string {
	if s.Cause == nil {
		return "the change at " + s.Parked.Cause + ", whose row is parked no more: segue dead retry takes it up"
	}
	return fmt.Sprintf("%s %s, which is parked since %s: %s", oneLine(s.Cause.Table), KeyText(change.RowOf(s.Cause.Key)), s.Cause.Position, oneLine(s.Cause.Code))
}

func (s *Shown) history(b *strings.Builder) {
	if len(s.History) == 0 {
		b.WriteString("history  none\n")
		return
	}
	b.WriteString("history\n")
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for i := range s.History {
		r := &s.History[i]
		_, _ = fmt.Fprintf(tw, "         %s ago\t%s\t%s\t%s\t%s\t%s\n", status.Age(s.Read.Sub(r.Time)), r.Action, r.Position, r.Op,
			cmp.Or(oneLine(strings.TrimSpace(r.Code+" "+r.Reason)), "-"), oneLine(r.Who))
	}
	_ = tw.Flush()
}

// write shows a part: where it is, and the row's columns.
func (p *Part) write(b *strings.Builder, name string) {
	head := strings.TrimSpace(p.Place + " " + p.Op)
	fmt.Fprintf(b, "%-8s %s\n", name, cmp.Or(head, "-"))
	if p.Reason != "" {
		fmt.Fprintf(b, "         %s\n", oneLine(p.Reason))
	}
	if len(p.Row)+len(p.Before) == 0 {
		return
	}
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	if len(p.Before) > 0 {
		after := p.Row
		if len(after) == 0 {
			after = make([]Cell, len(p.Before))
		}
		_, _ = fmt.Fprintln(tw, "         COLUMN\tTYPE\tBEFORE\tAFTER")
		for i := range p.Before {
			c, now := &p.Before[i], "-"
			if i < len(after) && after[i].Column != "" {
				now = after[i].text()
			}
			_, _ = fmt.Fprintf(tw, "         %s\t%s\t%s\t%s\n", oneLine(c.Column), c.Type, c.text(), now)
		}
	} else {
		_, _ = fmt.Fprintln(tw, "         COLUMN\tTYPE\tVALUE")
		for i := range p.Row {
			c := &p.Row[i]
			_, _ = fmt.Fprintf(tw, "         %s\t%s\t%s\n", oneLine(c.Column), c.Type, c.text())
		}
	}
	_ = tw.Flush()
}
