package main

import (
	"errors"
	"fmt"
	"strings"

	"segue/pkg/fault"
	"segue/pkg/mapping"
	"segue/pkg/table"
	"segue/services/reader"
)

// shape stands for what the mapping takes of a source table.
func (p *plan) shape(t *table.Table) string {
	if r := p.mapping.For(t.Name); r != nil {
		return r.Shape(t)
	}
	return ""
}

func (p *plan) uses(n table.Name, column string) bool {
	r := p.mapping.For(n)
	return r != nil && r.Uses(column)
}

// lenient says whether changes of columns that nothing takes stop nothing.
func (p *plan) lenient(n table.Name) bool {
	r := p.mapping.For(n)
	return r != nil && r.IgnoresSchema()
}

func (p *plan) ignores(n table.Name, column string) bool { return p.lenient(n) && !p.uses(n, column) }

// paused makes a state of a schema change that stopped the reader: everything else goes on and drains, the process says what it waits for, and the
// reader looks every few seconds whether the change was taken back. An edit of segue.yaml is read at the next start.
func (w *work) paused(p *plan, err error) error {
	var changed *reader.SchemaError
	if !errors.As(err, &changed) {
		return err
	}
	hint := edits(p.mapping.For(changed.Table), changed)
	if text := err.Error(); w.told != text {
		w.told = text
		w.log.Error("the reader is paused, the rest goes on", "table", changed.Table.String(), "error", text, "do", hint)
	}
	return &fault.Error{Err: fmt.Errorf("paused: %w", err), Class: fault.ClassTransient, Hint: hint}
}

// edits says what to change where, for each difference.
func edits(r *mapping.Rule, e *reader.SchemaError) string {
	if r == nil {
		return "take the table out of segue.yaml, or bring it back; then start segue again"
	}
	var out []string
	for _, d := range e.Changes {
		out = append(out, edit(r, d))
	}
	out = append(out, "then start segue again (with --accept-mapping where segue.yaml or the target changed); the table is read again where that is needed")
	return strings.Join(out, "; ")
}

func edit(r *mapping.Rule, d table.Difference) string {
	source, target := r.Source().Name, r.Target().Table.Name.SQL()
	alter := "on the target ALTER TABLE " + target + " "
	switch d.Kind {
	case table.ColumnAdded:
		return fmt.Sprintf("to take %s: %sADD COLUMN %s %s, and name it under set where %s has one; to leave it: ignore: [%s]", d.Now, alter, table.Quote(d.Now), d.Type, source, d.Now)
	case table.ColumnDropped:
		return fmt.Sprintf("take %s out of set, where and ignore of %s; %sDROP COLUMN %s, or let it keep what it has", d.Column, source, alter, targetColumn(r, d.Column))
	case table.ColumnRenamed:
		return fmt.Sprintf("write %s for %s in segue.yaml; where it is copied by name, %sRENAME COLUMN %s TO %s", d.Now, d.Column, alter, targetColumn(r, d.Column), table.Quote(d.Now))
	case table.ColumnRetyped:
		return fmt.Sprintf("%sALTER COLUMN %s TYPE %s, unless its type can hold the values", alter, targetColumn(r, d.Column), d.Type)
	case table.ColumnReplaced:
		return "nothing to edit for column " + d.Column
	case table.IdentityChanged:
		return "on the source ALTER TABLE " + source.SQL() + " REPLICA IDENTITY DEFAULT (with its primary key back), unless the change is meant"
	case table.TableReplaced, table.TableRenamed:
	}
	return "look at " + source.String() + " on the source"
}

// targetColumn is the target column that a source column is copied to, quoted; its own name where none is.
func targetColumn(r *mapping.Rule, column string) string {
	at := r.Source().Column(column)
	for _, c := range r.Columns() {
		if c.Source >= 0 && c.Source == at {
			return table.Quote(r.Target().Table.Columns[c.Target].Name)
		}
	}
	return table.Quote(column)
}
