package reader

import (
	"context"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgscan"
	"segue/pkg/pgsource"
	"segue/pkg/request"
	"segue/pkg/table"
)

// Writer puts changes on lanes and cuts frontiers: kafka.Writer.
type Writer interface {
	Resumed() frontier.State
	Incarnation() int64
	// Room is how many bytes key and value on a lane may have together.
	Room(lane int) int
	Append(ctx context.Context, lane int, pos change.Position, key, value []byte) error
	Cut(ctx context.Context, cut frontier.Cut, must bool) error
	Valid() <-chan kafka.Found
	Broken() <-chan struct{}
	Err() error
	Close(ctx context.Context) error
}

// Encoder turns a table's changes into bytes, and says which lane a key belongs to: wire.Changes.
type Encoder interface {
	AppendKey(dst []byte, row change.Row) ([]byte, error)
	AppendValue(dst []byte, c *change.Change) ([]byte, error)
	Lane(key []byte, partitions int32) int32
}

// Requests yields what is asked of the reader, in the order of their topic.
type Requests interface {
	Next(ctx context.Context) (offset int64, r request.Request, err error)
	Close()
}

// Stream is the source's log: pgsource.Stream.
type Stream interface {
	Next(ctx context.Context) (pgsource.Event, error)
	Confirm(lsn uint64)
	Ignore(oid uint32)
	Follow(oid uint32, t *table.Table)
}

// Scanner reads chunks: pgscan.Scanner.
type Scanner interface {
	Read(ctx context.Context, c chunk.Chunk, limit int64) (pgscan.Result, error)
	ReadKeys(ctx context.Context, t *table.Table, asked []change.Row, limit int64) (pgscan.Result, error)
	Heaps(ctx context.Context, tables []*table.Table) ([]chunk.Heap, error)
	Predicate(ctx context.Context, t *table.Table, where string) error
}

// Wholes begin to read a table without key in a snapshot that stands between two commits of the log.
type Wholes interface {
	Open(ctx context.Context, t *table.Table) (Whole, error)
}

// Whole is such a table. Point is the commit LSN below which its snapshot sees everything, and from which on nothing.
type Whole interface {
	Point() uint64
	Snapshot() chunk.Snapshot
	// Check reads under the snapshot for the first time: whether the table is still in the file that the snapshot knows.
	Check(ctx context.Context) error
	Rows(ctx context.Context, yield func(row change.Row, bytes int) error) error
	Close()
}

// Clock is the source's sense of which transactions are over.
type Clock interface {
	Snapshot(ctx context.Context) (chunk.Snapshot, error)
	CurrentXID(ctx context.Context) (uint64, error)
}

// Emitter writes a mark into the source's log, in a transaction of its own.
type Emitter interface {
	Emit(ctx context.Context, m chunk.Mark) error
}
