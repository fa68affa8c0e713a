package reader

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/pgscan"
	"segue/pkg/table"
)

// heapScanner is a table in memory: the bytes of each block. It is short until the first chunk is on its way.
type heapScanner struct {
	Scanner
	blocks []int64
	grown  bool
	most   int64 // what a read of more than one block held
	read   map[int]int
}

func (s *heapScanner) Heaps(context.Context, []*table.Table) ([]chunk.Heap, error) {
	h := chunk.Heap{Table: shape, Leaf: shape.Name, Filenode: 1}
	if s.grown {
		h.Blocks = uint32(len(s.blocks))
	}
	return []chunk.Heap{h}, nil
}

func (s *heapScanner) Read(_ context.Context, c chunk.Chunk, limit int64) (pgscan.Result, error) {
	to := int(c.Range.To)
	if c.Open {
		to = len(s.blocks)
	}
	var sum int64
	for at := int(c.Range.From); at < to; at++ {
		sum += s.blocks[at]
	}
	if limit > 0 && sum > limit {
		return pgscan.Result{}, pgscan.ErrTooLarge
	}
	for at := int(c.Range.From); at < to; at++ {
		s.read[at]++
	}
	if to-int(c.Range.From) > 1 {
		s.most = max(s.most, sum)
	}
	return pgscan.Result{Snapshot: chunk.Snapshot{Xmin: 1, Xmax: 1}, Bytes: sum}, nil
}

// met is a loop that meets each mark at once.
type met struct {
	desk  *desk
	heap  *heapScanner
	marks int
}

func (m *met) Emit(_ context.Context, mark chunk.Mark) error {
	m.heap.grown = true
	m.marks++
	if mark.Kind == chunk.MarkLow {
		m.desk.low(mark.ID)
	} else if e := m.desk.high(mark.ID); e != nil {
		m.desk.finish(e.job)
		e.job.end(verdict{})
	}
	return nil
}

// A table that grows while its only chunk's low watermark is on its way is still read in pieces that fit (P8), and a block that is larger than that
// by itself is read as it is.
func TestTheOpenEndIsReadInPiecesThatFit(t *testing.T) {
	heap := &heapScanner{blocks: make([]int64, 40), read: map[int]int{}}
	for i := range heap.blocks {
		heap.blocks[i] = 8000
	}
	heap.blocks[7], heap.blocks[39] = 1<<20, 1<<20
	resumed := frontier.NewState()
	plan := chunk.NewPlan([]chunk.Heap{{Table: shape, Leaf: shape.Name, Filenode: 1}}, nil, 32000)
	d := newDesk([]*table.Table{shape}, plan, 1<<20, &resumed)
	d.ready = true
	w := &workers{
		desk: d, scanner: heap, emitter: &met{desk: d, heap: heap}, throttle: newThrottle(0, 0), log: slog.New(slog.DiscardHandler),
		metrics: newMetrics(nil), limit: 64000, step: 32000, retries: 3,
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !plan.Complete() {
		j, err := d.take(ctx)
		if err != nil {
			t.Fatalf("%v: %+v", err, plan.Loads())
		}
		if err := w.read(ctx, j); err != nil {
			t.Fatal(err)
		}
	}
	if heap.most > w.limit {
		t.Errorf("a piece of %d bytes, the limit is %d", heap.most, w.limit)
	}
	for at := range heap.blocks {
		if heap.read[at] != 1 {
			t.Errorf("block %d was read %d times", at, heap.read[at])
		}
	}
}
