package change

import "segue/pkg/table"

// Target is the shape of the rows that one rule of the mapping writes: a target table and those of its columns that the rule
// sets, in the order in which a mapped Row holds them.
type Target struct {
	Table   *table.Table
	Columns []int // ordinals in Table.Columns
	// Key holds the places in a mapped Row (indices into Columns) of the target table's key columns, in key order.
	Key []int
	// Keyless says that the source table has no key: rows may be doubled, Key holds every place, and an update or a delete
	// concerns exactly one of the rows that are as its old row is.
	Keyless bool
	// SoleFeeder says that no other source table feeds this target table: only then a truncate is passed on.
	SoleFeeder bool
	// Source is the table whose rows the rule maps.
	Source table.Name
	// SourceKey holds, for each column of the source table's key, the index in Key of the target's column that is a copy of it: what
	// a target key says of its source row. Nil: nothing for certain.
	SourceKey []int
	// Roams says that the target key is made of columns beyond the source's key. Such a row can move on the target without its own key
	// changing, so that nobody could tell later where a version stands that was left behind: it is never set aside.
	Roams bool
}

// RowOp is one operation on one target row.
type RowOp struct {
	// Target is an index into the mapping's list of targets; a mapping's fingerprint stands for that list.
	Target int
	// Op: Insert and Read carry the whole row and replace what is there; Update sets the columns that are not absent;
	// Delete removes by Key; Truncate empties the table. Of a keyless target every operation is what happened to one row: Insert and
	// Read put one in, Update turns one into another, Delete takes one away.
	Op Op
	// Key holds the old key's values, in the order of Target.Key, where it differs from Row's (update) or where there
	// is no Row (delete); else nil.
	Key Row
	// Row holds the new values in the order of Target.Columns.
	Row                      Row
	Cascade, RestartIdentity bool
}

// Mapped is what the mapping made of one source change: one in, one out, with none to several row operations.
type Mapped struct {
	Pos Position
	Tx  Tx
	// Source is the source table's name, SourceOp what happened there.
	Source   table.Name
	SourceOp Op
	Ops      []RowOp
	// Want asks for the source row with this key (in the order of the source table's key), because the change alone did
	// not say enough; the answer comes as a Read or a Delete through the lanes. Nil: nothing is asked.
	Want Row
	// SourceKey identifies the source row (after the change; before it, for a delete), in the order of the source
	// table's key: what the applier asks for when a partial update finds no row. Nil for truncates, and where the table has no key.
	SourceKey Row
	// OldKey is the source key before an update that changed it; else nil.
	OldKey Row
	// Fault is nil, or why there are no operations although something happened: the applier parks SourceKey and OldKey.
	Fault *Fault
}
