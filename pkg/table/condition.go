package table

// Condition is a test of one column that a server can judge before a row travels: what fulfils it, and perhaps a little more, is read.
type Condition struct {
	Column int // ordinal in Table.Columns
	Is     Test
	Values []string // of OneOf: PostgreSQL's text
}

// Test says what a Condition wants of its column.
type Test byte

// The tests.
const (
	IsNull Test = iota + 1
	NotNull
	IsTrue    // of a boolean column
	IsNotTrue // false or NULL
	OneOf     // of a column of texts, integers or booleans
)
