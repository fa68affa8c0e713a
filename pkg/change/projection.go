package change

import (
	"fmt"
	"slices"
	"strings"

	"segue/pkg/table"
)

// Projection turns rows of an older shape of a table into rows of its present one (promise P1 across a changed schema). Columns
// are matched by name. One that the table lost vanishes. One that the older shape lacks is absent, never NULL, and so is one whose
// text may mean something else under the type that the column has now: nobody knows what PostgreSQL made of it.
type Projection struct {
	to    *table.Table
	place []int // of each old column in the present shape, -1: left out
	whole bool
}

// Project compares an older shape's columns with the present one. It fails where the key cannot be carried over: such rows name
// nothing that could be found.
func Project(from []table.Column, to *table.Table) (*Projection, error) {
	p := &Projection{to: to, place: make([]int, len(from))}
	there := make([]bool, len(to.Columns))
	for i := range from {
		at := to.Column(from[i].Name)
		if at >= 0 && !carries(&from[i], &to.Columns[at]) {
			at = -1
		}
		if p.place[i] = at; at >= 0 {
			there[at] = true
		}
	}
	p.whole = true
	for i, ok := range there {
		if !ok && to.IsKey(i) {
			return nil, fmt.Errorf("table %s: the key column %s has no counterpart in an older shape of the table", to.Name, to.Columns[i].Name)
		}
		p.whole = p.whole && (ok || to.Columns[i].Generated)
	}
	return p, nil
}

// Whole says that no column of the present shape is missing in the older one.
func (p *Projection) Whole() bool { return p.whole }

// Row puts an old row's values into a present row that is all absent.
func (p *Projection) Row(into, old Row) {
	for i, at := range p.place {
		if at >= 0 {
			into[at] = old[i]
		}
	}
}

// Missing names the present columns that rows of the older shape leave absent.
func (p *Projection) Missing() []string {
	var out []string
	for i := range p.to.Columns {
		if !p.to.Columns[i].Generated && !slices.Contains(p.place, i) {
			out = append(out, p.to.Columns[i].Name)
		}
	}
	return out
}

// carries says whether a text under the old type is the same value's text under the new one.
func carries(from, to *table.Column) bool {
	if from.Base == to.Base {
		return from.Mod == to.Mod || widened(to.Base, from.Mod, to.Mod)
	}
	f, t := rank(from.Base), rank(to.Base)
	switch {
	case f > 0 && t > 0:
		return f <= t // int to bigint and further
	case f > 0 && to.Base == "numeric":
		return to.Mod < 0
	}
	return from.Base == "character varying" && to.Base == "text"
}

// rank orders the integer types, 0 for others.
func rank(base string) int {
	return 1 + slices.Index([]string{"smallint", "integer", "bigint"}, base)
}

// widened says whether every value under the old modifier is one under the new one, unchanged.
func widened(base string, from, to int32) bool {
	if to < 0 {
		return base != "bpchar" // char without a length has no padding
	}
	switch {
	case from < 0:
		return false
	case base == "numeric":
		fromScale, toScale := (from-4)&0x7ff, (to-4)&0x7ff
		return toScale >= fromScale && (to-4)>>16-toScale >= (from-4)>>16-fromScale
	case base == "character varying", base == "bit varying", strings.HasPrefix(base, "timestamp"):
		return to >= from
	}
	return false
}
