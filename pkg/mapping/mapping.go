// Package mapping makes target rows of source rows, by the rules of segue.yaml. Rules are compiled once against both
// catalogs; what cannot work is found then, all at once, with its line in the file. A column that is only copied or
// renamed never passes through the expression engine: its text arrives as it was (promise P1). No source column is lost by
// oversight: each is used or ignored by name. An error at run time names table, column and position, never a value
// (P10). It is core: no I/O, no clock, no goroutine; the same change gives the same rows, always.
package mapping

import (
	"segue/pkg/change"
	"segue/pkg/migration"
	"segue/pkg/table"
)

// Mapping is all rules of one migration, compiled. It is not changed after Compile; any number of goroutines may use it.
type Mapping struct {
	rules       []*Rule // rule i writes target i
	targets     []*change.Target
	byName      map[table.Name]*Rule
	fingerprint string
	warnings    migration.Diagnostics
}

// Compile builds the mapping from the specification and the shapes of the selected source tables and of their target
// tables (others may be among them). The error is migration.Diagnostics: every finding, warnings too.
func Compile(spec *migration.Spec, source, target []*table.Table) (*Mapping, error) {
	c := newCompiler(spec, source, target)
	var selected []Selected
	selected, c.found = selectKnown(spec, namesOf(source))
	m := &Mapping{byName: map[table.Name]*Rule{}}
	for _, s := range selected {
		if r := c.rule(s, len(m.rules)); r != nil {
			m.rules = append(m.rules, r)
			m.targets = append(m.targets, r.target)
			m.byName[s.Source] = r
		}
	}
	c.unusedEntries(selected)
	c.found.Sort()
	if err := c.found.Err(); err != nil {
		return nil, err
	}
	m.warnings = c.found
	m.fingerprint = fingerprint(m.rules)
	return m, nil
}

// Sources returns the shapes of the source tables, in the order of the rules.
func (m *Mapping) Sources() []*table.Table {
	out := make([]*table.Table, len(m.rules))
	for i, r := range m.rules {
		out[i] = r.source
	}
	return out
}

// Targets returns what the rules write; change.RowOp.Target is an index into it.
func (m *Mapping) Targets() []*change.Target { return m.targets }

// Rules returns the rules; rule i writes target i.
func (m *Mapping) Rules() []*Rule { return m.rules }

// For returns the rule of a source table, nil where the migration does not take it.
func (m *Mapping) For(source table.Name) *Rule { return m.byName[source] }

// Fingerprint stands for everything that decides which rows come out: tables, columns, expressions, the targets'
// types. It does not depend on the file's layout or comments, nor on where the databases are.
func (m *Mapping) Fingerprint() string { return m.fingerprint }

// Warnings are findings that stop nothing.
func (m *Mapping) Warnings() migration.Diagnostics { return m.warnings }

func namesOf(tables []*table.Table) []table.Name {
	out := make([]table.Name, len(tables))
	for i, t := range tables {
		out[i] = t.Name
	}
	return out
}
