package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/change"
	"segue/pkg/frontier"
)

// Writer puts a stage's changes into lanes and its frontiers behind them. Append, Cut, Reclaim and Close are for one
// goroutine; the rest is for any. After an error the Writer is broken for good: open another, which claims and resumes.
type Writer struct {
	cfg    WriterConfig
	pace   Pace
	topics []string // by lane index
	rooms  []int    // by lane index: see Room
	limits *limits
	lanes  *kgo.Client // produces lane records
	front  *kgo.Client // produces and reads back the frontier topic
	tape   *tape
	log    *frontier.Log // what the topic holds, as read back

	ctx    context.Context // the Writer's own life: records in flight outlive the call that appended them
	cancel context.CancelFunc
	tasks  sync.WaitGroup // the pump
	reader sync.WaitGroup // the read-back of the present incarnation
	unread context.CancelFunc
	valid  chan Found
	broken chan struct{} // closed when err is set
	wake   chan struct{} // something may be due
	room   chan struct{} // something that Append or Cut waits for may have happened
	free   sync.Pool     // of *outgoing

	mu       sync.Mutex
	err      error
	closed   bool
	claim    int64
	resumed  frontier.State
	book     *frontier.Ledger
	buffered int64
	sent     int64 // bytes handed to Kafka in this incarnation
	flying   int   // cuts whose frontier Kafka has not acknowledged
	last     mark  // the last cut
	boundary *offer
	inner    *offer
	full     time.Time // when the last full frontier was cut
	rested   time.Time // when the last cut was made
}

// mark is a place in what was appended.
type mark struct {
	seq   uint64
	bytes int64
}

// offer is a cut that the stage has offered and the pace has not taken yet.
type offer struct {
	cut   frontier.Cut
	upto  mark
	since time.Time
}

// Found is an own boundary frontier that the Writer read back and found valid.
type Found struct {
	Offset   int64
	Frontier *frontier.Frontier
}

// Resumed is the state at the last valid boundary frontier before the claim: go on behind it.
func (w *Writer) Resumed() frontier.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.resumed.Clone()
}

// Incarnation is the offset of the claim in force.
func (w *Writer) Incarnation() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.claim
}

// Valid yields the newest own boundary frontier that was read back and found valid; older ones that nobody took are left out. Only up to
// such a frontier may the input be acknowledged.
func (w *Writer) Valid() <-chan Found { return w.valid }

// Broken is closed when the Writer can write no more.
func (w *Writer) Broken() <-chan struct{} { return w.broken }

// Err is why the Writer is broken, nil while it is not.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Room is how many bytes key and value of a record on the lane may have together: what is larger must travel otherwise.
func (w *Writer) Room(lane int) int { return w.rooms[lane] }

// Append sends a change to a lane. It waits while the buffer is full, not for the acknowledgement. The bytes are the
// Writer's from here on.
func (w *Writer) Append(ctx context.Context, lane int, pos change.Position, key, value []byte) error {
	if n := len(key) + len(value); n > w.rooms[lane] {
		return tooLarge(w.topics[lane], pos, n, w.rooms[lane])
	}
	size := int64(len(key)+len(value)) + recordOverhead
	w.mu.Lock()
	for w.err == nil && w.buffered > 0 && w.buffered+size > w.pace.Buffer {
		w.mu.Unlock()
		if err := w.waitRoom(ctx); err != nil {
			return err
		}
		w.mu.Lock()
	}
	if w.err != nil {
		w.mu.Unlock()
		return w.err
	}
	seq, claim := w.book.Sent(lane), w.claim
	w.buffered += size
	w.sent += size
	w.mu.Unlock()

	o := w.take()
	o.seq, o.claim, o.size = seq, claim, size
	o.rec.Topic, o.rec.Partition = w.topics[lane], w.cfg.Lanes[lane].Partition
	o.rec.Key, o.rec.Value = key, value
	o.head[0] = kgo.RecordHeader{Key: headerKey, Value: appendHeader(o.pos[:0], claim, pos)}
	o.rec.Headers = o.head[:]
	w.lanes.Produce(w.ctx, &o.rec, o.promise)
	return nil
}

func (w *Writer) waitRoom(ctx context.Context) error {
	select {
	case <-w.room:
		return nil
	case <-w.broken:
		return w.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recordOverhead is about what a record costs in memory beside key and value.
const recordOverhead = 400

// outgoing is a record on its way. It is used again when Kafka has acknowledged it.
type outgoing struct {
	rec     kgo.Record
	head    [1]kgo.RecordHeader
	pos     [headerSize]byte
	seq     uint64
	claim   int64
	size    int64
	promise func(*kgo.Record, error)
}

func (w *Writer) take() *outgoing {
	if o, ok := w.free.Get().(*outgoing); ok {
		return o
	}
	o := &outgoing{}
	o.promise = func(r *kgo.Record, err error) { w.acked(o, r.Offset, err) }
	return o
}

// acked enters what Kafka said of a lane record. It runs on the client's goroutine and never blocks.
func (w *Writer) acked(o *outgoing, offset int64, err error) {
	if err == nil && offset < 0 {
		err = errors.New("kafka acknowledged a record without its offset")
	}
	if err != nil {
		w.fail(err, "write", o.rec.Topic, o.rec.Partition)
	}
	w.mu.Lock()
	full := w.buffered >= w.pace.Buffer/2
	w.buffered -= o.size
	full = full || w.buffered == 0 // what is larger than the whole buffer waits for that
	if err == nil && o.claim == w.claim {
		w.book.Acked(o.seq, offset)
	}
	due := w.book.InFlight() > 0
	w.mu.Unlock()
	if due {
		signal(w.wake)
	}
	if full {
		signal(w.room)
	}
	o.rec = kgo.Record{}
	w.free.Put(o)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
