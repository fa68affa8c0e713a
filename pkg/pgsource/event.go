package pgsource

import (
	"segue/pkg/change"
	"segue/pkg/table"
)

// Kind says what an Event is.
type Kind uint8

// The kinds of events. Changes, truncates, origins and schema changes come between a Begin and its Commit; messages too where they
// are transactional; keepalives never do.
const (
	KindBegin Kind = iota + 1
	KindChange
	KindTruncate
	KindMessage
	KindOrigin
	KindSchema
	KindCommit
	KindKeepalive
)

// Event is one thing that the log tells. The part that Kind names is set, the others are zero.
type Event struct {
	Kind   Kind
	Begin  Begin
	Commit Commit
	// Change has everything but its position.
	//
	// Its rows point into a piece of memory of about 64 KiB that was received at once, and stay good as long as something
	// refers to them: nothing is reused. Who keeps single rows for long copies them, or holds all of that memory.
	Change   change.Change
	Truncate *Truncate
	Message  *Message
	Origin   *Origin
	Schema   *SchemaChange
	// ServerEnd is how far a keepalive says that the server has read its log: all of it that concerns this stream was
	// sent before. It may be confirmed once everything received so far is durable.
	ServerEnd uint64
}

// Truncate empties tables in one statement.
type Truncate struct {
	Tables                   []*table.Table
	Cascade, RestartIdentity bool
}

// SchemaChange says that the rows that follow are of another shape than the one that was given for their table. Who goes on gets them
// by the given shape: columns are matched by name, unknown ones are left out, missing ones absent. Rows of a table without
// a shape are an error, unless Stream.Ignore was called for it.
type SchemaChange struct {
	// Table is the shape that was given, nil where there is none for this relation.
	Table *table.Table
	// Relation is what the log says.
	Relation Relation
	// Differences are for people, one each. None: the log's description is the shape again, after it was not.
	Differences []string
}

// Name is the table's name in the log.
func (s *SchemaChange) Name() table.Name {
	return table.Name{Schema: s.Relation.Schema, Table: s.Relation.Table}
}
