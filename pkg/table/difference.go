package table

import (
	"fmt"
	"slices"
)

// Difference is one thing in which two shapes of a table differ.
type Difference struct {
	Kind DifferenceKind
	// Column is the column's name in the former shape, Now in the present one: "" where there is none, or where the table itself differs.
	Column, Now string
	// Type is the present column's declared type.
	Type string
	text string
}

// DifferenceKind says what differs.
type DifferenceKind uint8

// The kinds of differences.
const (
	ColumnAdded DifferenceKind = iota + 1
	ColumnDropped
	ColumnRenamed
	ColumnRetyped
	ColumnReplaced // dropped and made again by the same name
	TableReplaced
	TableRenamed
	IdentityChanged // the replica identity, or the columns that identify a row
)

func (d Difference) String() string { return d.text }

// Compare lists what differs between a former and a present shape in what matters to who follows the table.
func Compare(was, is *Table) []Difference {
	var out []Difference
	if was.OID != 0 && is.OID != 0 && was.OID != is.OID {
		out = append(out, Difference{Kind: TableReplaced, text: "the table was dropped and made again"})
	}
	if was.Name != is.Name {
		out = append(out, Difference{Kind: TableRenamed, text: fmt.Sprintf("the table was renamed: %s is now %s", was.Name, is.Name)})
	}
	out = append(out, compareColumns(was, is)...)
	if was.Identity != is.Identity {
		out = append(out, Difference{Kind: IdentityChanged, text: fmt.Sprintf("the replica identity was %s, now it is %s", was.Identity, is.Identity)})
	}
	if a, b := keyNames(was), keyNames(is); was.Identity != IdentityFull && is.Identity != IdentityFull && !slices.Equal(a, b) {
		out = append(out, Difference{Kind: IdentityChanged, text: fmt.Sprintf("the replica identity's columns were %q, now they are %q", a, b)})
	}
	return out
}

func compareColumns(was, is *Table) []Difference {
	var out []Difference
	renamed := renames(was, is)
	for i := range was.Columns {
		a := &was.Columns[i]
		at := is.Column(a.Name)
		switch {
		case renamed[a.Name] != "":
			now := renamed[a.Name]
			out = append(out, Difference{Kind: ColumnRenamed, Column: a.Name, Now: now, Type: is.Columns[is.Column(now)].Type,
				text: fmt.Sprintf("column %s is now called %s", a.Name, now)})
		case at < 0 && a.Generated:
		case at < 0:
			out = append(out, Difference{Kind: ColumnDropped, Column: a.Name, text: fmt.Sprintf("column %s was dropped", a.Name)})
		default:
			out = append(out, compareColumn(a, &is.Columns[at])...)
		}
	}
	for i := range is.Columns {
		b := &is.Columns[i]
		if was.Column(b.Name) < 0 && !isRename(renamed, b.Name) && !b.Generated {
			out = append(out, Difference{Kind: ColumnAdded, Now: b.Name, Type: b.Type, text: fmt.Sprintf("column %s was added, %s", b.Name, b.Type)})
		}
	}
	return out
}

func compareColumn(a, b *Column) []Difference {
	d := Difference{Column: a.Name, Now: b.Name, Type: b.Type}
	switch {
	case a.Number != 0 && b.Number != 0 && a.Number != b.Number:
		d.Kind, d.text = ColumnReplaced, fmt.Sprintf("column %s was dropped and made again", a.Name)
	case a.OID != b.OID || a.Mod != b.Mod:
		d.Kind, d.text = ColumnRetyped, fmt.Sprintf("column %s: the type was %s, now it is %s", a.Name, a.Type, b.Type)
	case a.Generated != b.Generated:
		d.Kind, d.text = ColumnRetyped, fmt.Sprintf("column %s: it is generated in one shape only", a.Name)
	default:
		return nil
	}
	return []Difference{d}
}

// renames finds the columns that only their name tells apart: by their number, else where one is missing and one of its type is new.
func renames(was, is *Table) map[string]string {
	gone := missing(was, is)
	came := missing(is, was)
	out := map[string]string{}
	for _, a := range gone {
		for _, b := range came {
			switch {
			case a.Number != 0 && b.Number != 0:
				if a.Number == b.Number {
					out[a.Name] = b.Name
				}
			case len(gone) == 1 && len(came) == 1 && a.OID == b.OID && a.Mod == b.Mod:
				out[a.Name] = b.Name
			}
		}
	}
	return out
}

func isRename(renamed map[string]string, now string) bool {
	for _, n := range renamed {
		if n == now {
			return true
		}
	}
	return false
}

// missing are the columns of a that b has no column of that name for.
func missing(a, b *Table) []*Column {
	var out []*Column
	for i := range a.Columns {
		if c := &a.Columns[i]; b.Column(c.Name) < 0 && !c.Generated {
			out = append(out, c)
		}
	}
	return out
}

func keyNames(t *Table) []string {
	out := make([]string, len(t.Key))
	for i, k := range t.Key {
		out[i] = t.Columns[k].Name
	}
	slices.Sort(out)
	return out
}
