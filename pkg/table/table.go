// Package table says what a PostgreSQL table looks like: its name, its columns in order, its key. It is core: no I/O;
// package postgres fills it from a catalog, and everything that moves rows reads it.
package table

// Identity is a table's replica identity: which columns of the old row the source's log carries.
type Identity byte

// The replica identities, by the letters of pg_class.relreplident.
const (
	IdentityDefault Identity = 'd' // the primary key's columns
	IdentityNothing Identity = 'n' // none: updates and deletes cannot be followed
	IdentityFull    Identity = 'f' // every column
	IdentityIndex   Identity = 'i' // the columns of one unique index
)

// Column is one column, in the order of the catalog.
type Column struct {
	Name string
	// Type is what the column was declared as: format_type(oid, typmod), such as "character varying(20)".
	Type string
	// Base is the type to cast text to before an assignment: domains resolved to their base type, without a modifier
	// (an explicit cast to varchar(n) cuts in silence, an assignment complains).
	Base string
	// OID and Mod are pg_attribute.atttypid and atttypmod.
	OID uint32
	Mod int32
	// Number is pg_attribute.attnum: a column that was dropped and made again by the same name has another one. 0: not known.
	Number int16
	// NotNull says that the column refuses NULL; Default that it has a default.
	NotNull, Default bool
	// Generated columns are computed by their own server, never written. AlwaysIdentity wants OVERRIDING SYSTEM VALUE.
	Generated, AlwaysIdentity bool
}

// Cast is the SQL that reads the column's type from a text expression as the type's own input does. For regclass a cast from text is
// another function than its input, one that takes neither - nor an OID; from bpchar it is the input.
func (c *Column) Cast(text string) string {
	if c.Base == "regclass" {
		return text + "::pg_catalog.bpchar::" + c.Base
	}
	return text + "::" + c.Base
}

// Table is one table's shape. It is never changed after it was built: a new shape is a new Table.
type Table struct {
	OID     uint32
	Name    Name
	Columns []Column
	// Key holds the ordinals in Columns of the columns that identify a row: of the replica identity on a source (with
	// identity full: of the primary key), of the primary key or the first non-deferrable unique index on a target.
	// Empty: no key.
	Key []int
	// Equals holds, for each column of the key, the operator of its unique index: by name PostgreSQL would find another where the
	// type is an extension's, because segue's sessions have an empty search_path. Not read from a catalog: nothing.
	Equals   []string
	Identity Identity
	// Partitioned says that the table is a partitioned parent, which holds no rows itself.
	Partitioned bool
}

// Column returns the ordinal of the column with that name, -1 where there is none.
func (t *Table) Column(name string) int {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// Equal is the operator that compares column i by the equality of the key's index, where it belongs to the key.
func (t *Table) Equal(i int) string {
	for place, k := range t.Key {
		if k == i && place < len(t.Equals) {
			return t.Equals[place]
		}
	}
	return "="
}

// Keyless says that nothing tells the table's rows apart: equal ones may be there several times.
func (t *Table) Keyless() bool { return len(t.Key) == 0 }

// IsKey says whether column i belongs to the key.
func (t *Table) IsKey(i int) bool {
	for _, k := range t.Key {
		if k == i {
			return true
		}
	}
	return false
}

func (i Identity) String() string {
	switch i {
	case IdentityDefault:
		return "default"
	case IdentityNothing:
		return "nothing"
	case IdentityFull:
		return "full"
	case IdentityIndex:
		return "an index"
	}
	return "unknown"
}
