// Package frontier holds the rules that everything rests on (promises P1 to P4): how a writer that may crash, be
// paused or be doubled puts changes on many partitions, and how a consumer takes exactly those that count, in order,
// a consistent cut at a time. It is core: no I/O, no goroutine, no clock; package kafka moves the bytes.
//
// A stage writes changes to lanes (one source table × one partition) and says on its frontier topic, one partition,
// how far each lane counts. A Claim is a writer's first record there; the claim's offset is the writer's incarnation
// and stands in a header of everything it writes. A Frontier is a cut at a position: everything at or before it is
// acknowledged by Kafka, with the offset just past its last change and the number of changes for each lane that moved.
//
// The rules:
//
//  1. A frontier is valid if the last claim before it is its own writer's. Void ones are ignored.
//  2. A valid frontier takes only those lane records that carry its incarnation. This is judged when merging.
//  3. The first valid frontier behind a claim, and the first that trimming leaves, lists all lanes.
//  4. A claim takes back everything beyond the last valid boundary frontier before it: its writer resumes there and
//     writes all of it again.
//  5. Each valid frontier names the position of its predecessor, and the counts of its lanes add up. Anything else is
//     lost data: fatal, never a guess.
//
// So half-written tails, batches that a broker refused and a paused process that wakes up are void without comparing any of them.
package frontier

import (
	"segue/pkg/change"
	"segue/pkg/table"
)

// Lane is one source table × one partition, the same in every stage.
type Lane struct {
	Table     string // table.Name.Topic()
	Partition int32
}

// Claim is a writer's first record on its frontier topic.
type Claim struct {
	Stage string // "reader", "transformer", "deduplicator"
	Owner string // which process: host, pid and start, for people
	// Fingerprint of the mapping that the writer works by; a consumer that has another one stops here.
	Fingerprint string
	// Upstream is the incarnation of the input that the writer follows; -1 at the reader.
	Upstream int64
	Written  int64 // microseconds since 1970
}

// LaneEnd says how far a lane counts.
type LaneEnd struct {
	Lane  Lane
	End   int64 // the offset just past the lane's last change that counts
	Count int64 // changes since the predecessor
	Total int64 // changes since the migration began
}

// Range is a half-open range of heap blocks, [From, To).
type Range struct{ From, To uint32 }

// Load is how far the initial load of one heap (a table, or a leaf of a partitioned one) got.
type Load struct {
	Table    table.Name // the table as selected
	Leaf     table.Name // the heap that was read; equal to Table for a plain table
	Filenode uint32     // pg_relation_filenode that the ranges were planned from
	Blocks   uint32     // the number of blocks planned; the last range is open-ended
	Done     []Range    // finished ranges, merged, ascending
	Complete bool
	// Shape stands for what the table looked like, and what was taken of it, when this was read: under another one nothing of it counts.
	Shape string
}

// Void says that nothing of the heap counts: the table was taken out of the migration, or its history ended.
func (l *Load) Void() bool { return !l.Complete && len(l.Done) == 0 && l.Filenode == 0 }

// Mark is a watermark that somebody else put into the source's log, and that a frontier ends at.
type Mark struct {
	ID   string
	Kind string // what the consumers do right behind this frontier: "snapshot" makes the applier export one
	At   change.Position
}

// Frontier is a consistent cut.
type Frontier struct {
	Incarnation int64
	Prev, At    change.Position
	// Lanes that moved since the predecessor; in a full frontier all lanes.
	Lanes []LaneEnd
	Full  bool
	// Boundary says that At ends a source transaction. Others only let a consumer merge and work on in bounded memory.
	Boundary bool
	// Confirm is what the writer may acknowledge once it finds this frontier valid: the reader the LSN to give to the slot,
	// a stage the offset of its input's frontier.
	Confirm uint64
	// Requests is the offset just past the last handled request.
	Requests int64
	// Loads tells of the heaps whose finished ranges grew since the predecessor; a full frontier lists all of them.
	Loads []Load
	// Loaded says that the initial load of every selected table is complete at At.
	Loaded bool
	Marks  []Mark
	// Source names the history that the positions belong to: the reader's source, as system/timeline/database. Full frontiers of the reader
	// carry it; "" elsewhere.
	Source string
	// Committed is the source's commit time of the newest transaction at or before At, Written when the record was
	// made; microseconds since 1970, of the source's and the writer's clock.
	Committed, Written int64
}

// Record is one record of a frontier topic: exactly one of the two is set.
type Record struct {
	Offset   int64
	Claim    *Claim
	Frontier *Frontier
}
