package frontier

import (
	"context"

	"segue/pkg/change"
)

// Batch is all changes between two frontiers, in position order: the unit of work everywhere.
type Batch[T any] struct {
	Offset   int64 // of the frontier record on its topic
	Frontier *Frontier
	Changes  []T
}

// Event is what a consumer meets next: a batch, or a claim, which takes back everything beyond the last boundary
// batch (an open target transaction is rolled back). Exactly one of the two is set.
type Event[T any] struct {
	Batch *Batch[T]
	Claim *Record
}

// Source yields events in the order of the frontier topic. Next blocks until there is one; Ready says whether Next would
// return at once, so that a consumer can combine batches on a backlog. A Source is for one goroutine.
type Source[T any] interface {
	Next(ctx context.Context) (Event[T], error)
	Ready() bool
}

// Message is one lane record as package kafka hands it on: bytes, with the position that its header carried.
type Message struct {
	Lane        int // index into the lanes that the consumer was opened with
	Offset      int64
	Incarnation int64
	Pos         change.Position
	Key, Value  []byte
}

// Cursor is where a consumer stands: the last frontier that it has made durable. Offset -1: nothing yet.
type Cursor struct {
	Offset      int64
	Incarnation int64
	At          change.Position
}

// Cut is what a writer says of a cut; the rest of the Frontier (incarnation, predecessor, lanes) is the Ledger's.
type Cut struct {
	At        change.Position
	Boundary  bool
	Confirm   uint64
	Requests  int64
	Loads     []Load // the heaps whose ranges grew since the last cut
	Loaded    bool
	Marks     []Mark
	Committed int64
	Source    string // told by full frontiers
}
