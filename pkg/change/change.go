package change

import "segue/pkg/table"

// Op is what happened, by Debezium's letters.
type Op byte

// The operations.
const (
	Insert   Op = 'c'
	Update   Op = 'u'
	Delete   Op = 'd'
	Read     Op = 'r' // the row as a chunk found it: the truth at its position
	Truncate Op = 't'
)

func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Read:
		return "read"
	case Truncate:
		return "truncate"
	}
	return "unknown"
}

// Tx is the source transaction of a change.
type Tx struct {
	XID uint32 // the low 32 bits, as BEGIN has them
	// Committed is the source's commit time, in microseconds since 1970.
	Committed int64
}

// Change is what happened to one source row.
type Change struct {
	Pos   Position
	Tx    Tx
	Table *table.Table
	Op    Op
	// Before is the old row as far as the log has it. Delete: the key's columns, or the whole row (identity full).
	// Update: nil, unless the key changed or the identity is full. Columns that the log left out are absent.
	Before Row
	// After is the new row: insert and read hold every column, an update may have absent ones (unchanged TOAST).
	After Row
	// Older says that the record was written by an older shape of the table: columns that it does not know are absent, and the table is
	// read again behind it, because its shape changed.
	Older bool
	// Cascade and RestartIdentity belong to a truncate. All truncates of one commit with adjacent Seq were one statement.
	Cascade, RestartIdentity bool
	// Fault is nil, or why this is a stub: its rows hold the key's columns alone, and nothing else is known of what happened.
	Fault *Fault
}

// Key is the row that holds the identifying values before the change: of the row to find. Truncates have none.
func (c *Change) Key() Row {
	if c.Before != nil {
		return c.Before
	}
	return c.After
}

// KeyChanged says whether an update moved the row to another key.
func (c *Change) KeyChanged() bool {
	if c.Op != Update || c.Before == nil {
		return false
	}
	for _, k := range c.Table.Key {
		if !c.Before[k].Equal(c.After[k]) {
			return true
		}
	}
	return false
}
