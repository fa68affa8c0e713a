package pgsource

import "segue/pkg/change"

// Begin starts a transaction. Between it and its Commit come that transaction's changes and nothing else.
type Begin struct {
	// FinalLSN is where the commit record begins: the LSN of the positions of all changes in this transaction.
	FinalLSN uint64
	// CommitTime is the source's clock at commit, in microseconds since 1970.
	CommitTime int64
	XID        uint32
}

// Commit ends a transaction.
type Commit struct {
	CommitLSN uint64 // equal to FinalLSN of the Begin
	EndLSN    uint64 // just past the commit record: what to confirm, never what to order by
	// CommitTime is the source's clock at commit, in microseconds since 1970.
	CommitTime int64
}

// Origin says that the transaction was replicated to the source from elsewhere.
type Origin struct {
	LSN  uint64
	Name string
}

// Relation describes a table as it was when the rows that follow were written.
type Relation struct {
	OID           uint32
	Schema, Table string
	Identity      byte // as table.Identity
	Columns       []RelationColumn
}

// RelationColumn is one column of a Relation. Generated columns are not listed.
type RelationColumn struct {
	Name string
	OID  uint32
	Mod  int32
	Key  bool // part of the replica identity
}

// Type names a type that is not built in.
type Type struct {
	OID          uint32
	Schema, Name string
}

// Row is an insert, update or delete. Tuples hold one value per column of the Relation.
type Row struct {
	RelationOID uint32
	// OldKind is 'K' where Old holds the replica identity's columns and NULL elsewhere, 'O' where it is the whole old row, 0 where there
	// is none.
	OldKind  byte
	Old, New change.Row
}

// TruncateMessage empties tables in one statement.
type TruncateMessage struct {
	RelationOIDs             []uint32
	Cascade, RestartIdentity bool
}

// Message is a logical message: what somebody put into the log with pg_logical_emit_message.
type Message struct {
	Transactional bool
	LSN           uint64
	Prefix        string
	Content       []byte
}

// Decoded is one pgoutput message. Type says which of the parts is set, by the protocol's letters.
type Decoded struct {
	Type     byte // B C O R Y I U D T M
	Begin    Begin
	Commit   Commit
	Origin   Origin
	Relation Relation
	TypeName Type
	Row      Row
	Truncate TruncateMessage
	Message  Message
}
