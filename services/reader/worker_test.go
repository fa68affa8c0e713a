package reader

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/pgscan"
	"segue/pkg/table"
)

// heapScanner is a table in memory: the bytes of each block. It is short until the first chunk is on its way.
type heapScanner struct {
	Scanner
	blocks []int64
	grown  bool
	most   int64 // what a read held
	read   map[int]int
}

func (s *heapScanner) Heaps(context.Context, []*table.Table) ([]chunk.Heap, error) {
	h := chunk.Heap{Table: shape, Leaf: shape.Name, Filenode: 1}
	if s.grown {
		h.Blocks = uint32(len(s.blocks))
	}
	return []chunk.Heap{h}, nil
}

// blockLines is how many rows each of the heap's blocks has, of the same size.
const blockLines = 200

// lines is how many of them a piece of a block has.
func lines(l chunk.Lines) int {
	from, to := min(max(int(l.From), 1), blockLines+1), blockLines+1
	if l.To > 0 {
		to = min(max(int(l.To), 1), blockLines+1)
	}
	return max(to-from, 0)
}

func (s *heapScanner) Read(_ context.Context, c chunk.Chunk, limit int64) (pgscan.Result, error) {
	to := int(c.Range.To)
	if c.Open {
		to = len(s.blocks)
	}
	var sum int64
	for at := int(c.Range.From); at < to; at++ {
		sum += s.blocks[at] * int64(lines(c.Lines)) / blockLines
	}
	if limit > 0 && sum > limit {
		return pgscan.Result{}, pgscan.ErrTooLarge
	}
	for at := int(c.Range.From); at < to; at++ {
		s.read[at] += lines(c.Lines)
	}
	s.most = max(s.most, sum)
	return pgscan.Result{Snapshot: chunk.Snapshot{Xmin: 1, Xmax: 1}, Bytes: sum}, nil
}

// ReadKeys finds every key, ten bytes each and a large one; "bad" is no key.
func (s *heapScanner) ReadKeys(_ context.Context, _ *table.Table, asked []change.Row, limit int64) (pgscan.Result, error) {
	out := pgscan.Result{Snapshot: chunk.Snapshot{Xmin: 1, Xmax: 1}}
	for _, k := range asked {
		switch string(k[0].Bytes()) {
		case "bad":
			return pgscan.Result{}, fault.Poison(errors.New("invalid text"))
		case "large":
			out.Bytes += 1000
		}
		out.Bytes += 10
		out.Rows = append(out.Rows, k)
	}
	if limit > 0 && out.Bytes > limit {
		return pgscan.Result{}, pgscan.ErrTooLarge
	}
	s.most = max(s.most, out.Bytes)
	return out, nil
}

// Requested keys are read in pieces that fit, their request is answered with the last of them, and one that is no key stops nothing.
func TestRequestedKeysAreReadInPiecesThatFit(t *testing.T) {
	heap := &heapScanner{read: map[int]int{}}
	resumed := frontier.NewState()
	d := newDesk([]*table.Table{shape}, chunk.NewPlan(nil, nil, 1), 1<<20, &resumed)
	d.ready = true
	m := &met{desk: d, heap: heap}
	w := &workers{
		desk: d, scanner: heap, emitter: m, throttle: newThrottle(0, 0), log: slog.New(slog.DiscardHandler),
		metrics: newMetrics(nil), limit: 500, step: 1, retries: 0,
	}
	var keys []change.Row
	for i := range 2100 {
		switch i {
		case 50, 1999, 2099:
			keys = append(keys, row("bad", ""))
		case 70:
			keys = append(keys, row("large", ""))
		default:
			keys = append(keys, row(strconv.Itoa(i), ""))
		}
	}
	if err := d.request(t.Context(), 4, shape, keys); err != nil {
		t.Fatal(err)
	}
	m.check = func() {
		if d.asked.handled != 0 && len(m.keys) < 2097 {
			t.Errorf("answered after %d keys", len(m.keys))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		j := d.next()
		if err := w.read(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	})
	if len(m.keys) != 2097 || d.asked.handled != 5 || heap.most > 1010 {
		t.Errorf("%d keys, handled %d, %d bytes at once", len(m.keys), d.asked.handled, heap.most)
	}
}

// met is a loop that meets each mark at once.
type met struct {
	desk  *desk
	heap  *heapScanner
	marks int
	keys  map[string]bool // that came
	check func()
}

func (m *met) Emit(_ context.Context, mark chunk.Mark) error {
	m.heap.grown = true
	m.marks++
	if mark.Kind == chunk.MarkLow {
		m.desk.low(mark.ID)
	} else if e := m.desk.high(mark.ID); e != nil {
		for _, r := range e.rows {
			if m.keys == nil {
				m.keys = map[string]bool{}
			}
			m.keys[string(r[0].Bytes())] = true
		}
		m.desk.finish(e.job)
		if m.check != nil {
			m.check()
		}
		e.job.end(verdict{})
	}
	return nil
}

// A table that grows while its only chunk's low watermark is on its way is still read in pieces that fit (P8), and so is a block
// that is larger than that by itself; only a single row may be.
func TestTheOpenEndIsReadInPiecesThatFit(t *testing.T) {
	heap := &heapScanner{blocks: make([]int64, 40), read: map[int]int{}}
	for i := range heap.blocks {
		heap.blocks[i] = 8000
	}
	heap.blocks[7], heap.blocks[39] = 1<<20, 1<<20
	heap.blocks[20] = 80 << 20 // each row is larger than the limit
	resumed := frontier.NewState()
	plan := chunk.NewPlan([]chunk.Heap{{Table: shape, Leaf: shape.Name, Filenode: 1}}, nil, 32000)
	d := newDesk([]*table.Table{shape}, plan, 1<<20, &resumed)
	d.ready = true
	w := &workers{
		desk: d, scanner: heap, emitter: &met{desk: d, heap: heap}, throttle: newThrottle(0, 0), log: slog.New(slog.DiscardHandler),
		metrics: newMetrics(nil), limit: 64000, step: 32000, retries: 3,
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
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
	if row := heap.blocks[20] / blockLines; heap.most != row {
		t.Errorf("a piece of %d bytes, the limit is %d and the largest row %d", heap.most, w.limit, row)
	}
	for at := range heap.blocks {
		if heap.read[at] != blockLines {
			t.Errorf("of block %d %d rows were read, want %d", at, heap.read[at], blockLines)
		}
	}
}
