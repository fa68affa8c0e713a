// Package request holds what asks the reader for rows out of turn. A request is a durable record on the migration's requests topic,
// acknowledged before the batch that raised it commits; the reader gives it its place in the order (promise P1: a row
// that a change could not describe is never guessed, it is asked for). It is core.
package request

import (
	"segue/pkg/change"
	"segue/pkg/table"
)

// Kind says what is asked for.
type Kind string

const (
	// Keys asks for the rows with the given keys: each comes through the lanes as a read, or as a delete where it is gone.
	Keys Kind = "keys"
	// Resync asks for a whole table, or for those of its rows for which a predicate holds: each comes as a read. Of rows that are
	// not there it says nothing: a comparison finds what is left over, and asks for it by key.
	Resync Kind = "resync"
)

// Request is one record of the requests topic.
type Request struct {
	ID      string // unique, for people and logs
	Kind    Kind
	Table   table.Name   // a source table
	Keys    []change.Row // each in the order of the source table's key
	Where   string       // of a resync: an SQL predicate over the table's own columns; "" is every row
	By      string       // which service asked
	Written int64        // microseconds since 1970
}
