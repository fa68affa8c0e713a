package mapping

import (
	"slices"

	"segue/pkg/migration"
	"segue/pkg/table"
)

// Selected is one source table that the migration takes, and where its rows go.
type Selected struct {
	Source, Target table.Name
	Entry          int // index into Spec.Tables
}

// Select resolves the specification's names and patterns over all tables of the source, in the order of the entries, then by
// name. It needs no shapes. The error is migration.Diagnostics.
func Select(spec *migration.Spec, all []table.Name) ([]Selected, error) {
	s := newSelection(spec, all)
	for i := range spec.Tables {
		s.entry(i)
		s.excludes(i)
	}
	s.found.Sort()
	return s.selected, s.found.Err()
}

// selectKnown is Select where only the selected tables are known, not those that were left out.
func selectKnown(spec *migration.Spec, known []table.Name) ([]Selected, migration.Diagnostics) {
	s := newSelection(spec, known)
	for i := range spec.Tables {
		s.entry(i)
	}
	return s.selected, s.found
}

func newSelection(spec *migration.Spec, all []table.Name) *selection {
	s := &selection{spec: spec, all: slices.Clone(all), source: map[table.Name]int{}, target: map[table.Name]Selected{}}
	slices.SortFunc(s.all, compareNames)
	return s
}

// excludes looks for names that stand for nothing: a table that was meant to stay behind would be taken.
func (s *selection) excludes(i int) {
	for _, e := range s.spec.Tables[i].Exclude {
		if name, exact := e.Exact(); exact && !slices.Contains(s.all, name) {
			s.mistake(e.At, "exclude names %s, which the source does not have: mend the name or remove it%s", name, migration.DidYouMean(name.String(), texts(s.all)))
		}
	}
}

func compareNames(a, b table.Name) int {
	if a.Schema != b.Schema {
		return compareText(a.Schema, b.Schema)
	}
	return compareText(a.Table, b.Table)
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

type selection struct {
	spec     *migration.Spec
	all      []table.Name
	selected []Selected
	source   map[table.Name]int      // which entry took it
	target   map[table.Name]Selected // who writes it
	found    migration.Diagnostics
}

func (s *selection) mistake(at migration.Place, format string, args ...any) {
	s.found = append(s.found, s.spec.Mistake(at, format, args...))
}

func (s *selection) entry(i int) {
	t := &s.spec.Tables[i]
	before := 0
	for _, name := range s.all {
		if t.Selects(name) {
			before++
			s.take(i, name)
		}
	}
	if before > 0 {
		return
	}
	if name, exact := t.From.Exact(); exact {
		s.mistake(t.From.At, "the source has no table %s (or this user may not see it)%s", name, migration.DidYouMean(name.String(), texts(s.all)))
		return
	}
	s.mistake(t.From.At, "the pattern %s matches no table of the source: mend it or remove the entry", t.From.Text)
}

func (s *selection) take(i int, source table.Name) {
	t := &s.spec.Tables[i]
	if first, taken := s.source[source]; taken {
		s.mistake(t.From.At, "%s is selected twice, here and in line %d: exclude it from one of the two (exclude: [%s])",
			source, s.spec.Tables[first].At.Line, source)
		return
	}
	s.source[source] = i
	sel := Selected{Source: source, Target: t.Destination(source), Entry: i}
	if other, taken := s.target[sel.Target]; taken {
		s.mistake(place(t.To.At, t.From.At), "%s and %s would both write %s: segue does not yet join several source tables into one target table; send one elsewhere or exclude it",
			other.Source, source, sel.Target)
		return
	}
	s.target[sel.Target] = sel
	s.selected = append(s.selected, sel)
}

// place is the first place that is known.
func place(among ...migration.Place) migration.Place {
	for _, p := range among {
		if !p.IsZero() {
			return p
		}
	}
	return migration.Place{}
}

func texts(names []table.Name) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = n.String()
	}
	return out
}
