package pgtarget

import (
	"fmt"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// truncation is one TRUNCATE of the source: all tables of one commit with adjacent numbers.
type truncation struct {
	tables  []table.Name
	restart bool
	at      change.Position // of the last of them
	source  int32
}

// truncate ends the open segment and adds the table to the truncation before it, where both were one statement.
func (f *folder) truncate(source int32, op *change.RowOp, t *target) error {
	m := f.changes[source]
	if !t.SoleFeeder {
		return fault.Fatal(&ApplyError{Target: t.Table.Name, Source: m.Source, Pos: m.Pos, Err: errSharedTruncate},
			fmt.Sprintf("other source tables feed %s: delete the rows that came from %s by hand, then resync the table", t.Table.Name, m.Source))
	}
	f.cut()
	if n := len(f.closed); n > 0 && f.closed[n-1].truncate != nil && f.closed[n-1].truncate.joins(m.Pos) {
		last := f.closed[n-1].truncate
		last.at, last.restart = m.Pos, last.restart || op.RestartIdentity
		for _, name := range last.tables {
			if name == t.Table.Name {
				return nil
			}
		}
		last.tables = append(last.tables, t.Table.Name)
		return nil
	}
	f.closed = append(f.closed, segment{truncate: &truncation{
		tables: []table.Name{t.Table.Name}, restart: op.RestartIdentity, at: m.Pos, source: source,
	}})
	return nil
}

func (t *truncation) joins(p change.Position) bool {
	return t.at.Epoch == p.Epoch && t.at.LSN == p.LSN && (t.at.Seq == p.Seq || t.at.Seq+1 == p.Seq)
}
