package chunk

import (
	"segue/pkg/frontier"
	"segue/pkg/table"
)

// BlockBytes is the size of a heap block, as every ordinary server is built.
const BlockBytes = 8192

// Heap is one heap as its server describes it: a plain table, or a leaf of a partitioned one.
type Heap struct {
	Table    *table.Table // the table as selected
	Leaf     table.Name   // the heap itself; equal to Table.Name for a plain table
	Filenode uint32
	Blocks   uint32
	// Bytes is the heap with its TOAST table: blocks alone say little about rows with large values.
	Bytes int64
	// Rows is the planner's estimate, for progress; negative where it has none.
	Rows int64
}

// Chunk is a range of blocks to read.
type Chunk struct {
	Table    *table.Table
	Leaf     table.Name
	Filenode uint32
	Range    frontier.Range
	// Open says that the range has no upper end: rows that moved behind the planned size are in it.
	Open bool
	// Fresh says that nothing of the heap was ever emitted before: rows that the mapping certainly leaves out need not be read. (In a
	// later load their coming tells the target to delete what is there.)
	Fresh bool
	// Where is an SQL predicate, "" for every row.
	Where string
	round int // of its heap
	// Lines is a part of a single block, whose rows are too large to be read at once: the row versions from line pointer From to before
	// To; To 0: to the block's end.
	Lines Lines
	// Whole says that the chunk is all of a table without key, which cannot be read in pieces.
	Whole bool
}

// Lines is a range of a block's line pointers.
type Lines struct{ From, To uint16 }

// maxLines is above every line pointer of a block of 8 kB.
const maxLines = 292

// Halve returns both halves of the lines, false where there is only one.
func (l Lines) Halve() (Lines, Lines, bool) {
	to := l.To
	if to == 0 {
		to = max(maxLines, l.From+1)
	}
	if to-l.From <= 1 {
		return l, Lines{}, false
	}
	middle := l.From + (to-l.From)/2
	return Lines{From: l.From, To: middle}, Lines{From: middle, To: l.To}, true
}

// Plan hands out the block ranges of all heaps and follows which are finished. Not for concurrent use.
type Plan struct {
	bytes int64 // aimed at per chunk
	heaps []*heap
}

type heap struct {
	Heap
	step uint32           // blocks per chunk
	full uint32           // what step was planned to be: it returns there, a little with each finished chunk
	todo []frontier.Range // not handed out, ascending, except for those that came back
	done []frontier.Range // finished, merged, ascending
	tail bool             // the open range is finished
	// fresh is Chunk.Fresh.
	fresh bool
	out   int // handed out, not finished
	// round counts how often the heap was planned: a chunk of an earlier round counts for nothing.
	round int
}

// NewPlan plans all heaps by chunks of about so many bytes, behind what the loads say is finished. A load whose filenode
// is not the heap's is void, except that a plain table which was loaded completely stays so: a later rewrite moves its rows, and
// whatever changes them comes through the stream. (Of a partition's TRUNCATE nothing comes.)
func NewPlan(heaps []Heap, loads []frontier.Load, bytes int64) *Plan {
	p := &Plan{bytes: bytes}
	for _, h := range heaps {
		p.Add(h, loads)
	}
	return p
}

// Fresh says of all heaps that are planned that nothing of them was ever emitted: it is the migration's first life.
func (p *Plan) Fresh() {
	for _, h := range p.heaps {
		h.fresh = true
	}
}

// Add plans one more heap.
func (p *Plan) Add(h Heap, loads []frontier.Load) {
	n := &heap{Heap: h}
	for _, l := range loads {
		if l.Table == h.Table.Name && l.Leaf == h.Leaf {
			n.resume(l)
		}
	}
	n.step = n.blocksPer(p.bytes)
	n.full = n.step
	p.heaps = append(p.heaps, n)
	if n.complete() || h.Table.Keyless() {
		return
	}
	n.todo = n.gaps()
}

func (h *heap) resume(l frontier.Load) {
	if h.Table.Keyless() {
		h.tail = l.Complete
		return
	}
	plainDone := l.Complete && h.Leaf == h.Table.Name
	if l.Filenode != h.Filenode && !plainDone {
		return
	}
	h.done = append(h.done, l.Done...)
	h.Filenode = l.Filenode
	n := len(h.done)
	h.tail = l.Complete || n > 0 && h.done[n-1].To == l.Blocks
	if h.tail {
		// The open range was read when the heap was planned to be so long: what lies behind came later, through the stream.
		h.Blocks = l.Blocks
	}
	h.Blocks = max(h.Blocks, l.Blocks)
}

// blocksPer is how many blocks hold about so many bytes of rows.
func (h *heap) blocksPer(bytes int64) uint32 {
	perBlock := int64(BlockBytes)
	if h.Blocks > 0 {
		perBlock = max(perBlock, h.Bytes/int64(h.Blocks))
	}
	return uint32(min(max(bytes/perBlock, 1), 1<<30))
}

// gaps are the ranges that are not done, the open end among them.
func (h *heap) gaps() []frontier.Range {
	var out []frontier.Range
	at := uint32(0)
	for _, d := range h.done {
		if d.From > at {
			out = append(out, frontier.Range{From: at, To: d.From})
		}
		at = d.To
	}
	if at < h.Blocks || !h.tail {
		out = append(out, frontier.Range{From: at, To: h.Blocks})
	}
	return out
}

func (h *heap) complete() bool {
	if h.Table.Keyless() {
		return h.tail
	}
	return h.tail && len(h.todo) == 0 && h.out == 0 && len(h.gaps()) == 0
}

// Next hands out a range; false where none is left to hand out (some may still be out).
func (p *Plan) Next() (Chunk, bool) {
	for _, h := range p.heaps {
		if len(h.todo) > 0 {
			return h.next(), true
		}
	}
	return Chunk{}, false
}

func (h *heap) next() Chunk {
	r := h.todo[0]
	if r.To-r.From > h.step {
		h.todo[0].From += h.step
		r.To = r.From + h.step
	} else {
		h.todo = h.todo[1:]
	}
	h.out++
	open := r.To == h.Blocks && !h.tail
	return Chunk{Table: h.Table, Leaf: h.Leaf, Filenode: h.Filenode, Range: r, Open: open, Fresh: h.fresh, round: h.round}
}

// find returns the heap of a chunk, nil where it was planned anew since.
func (p *Plan) find(c Chunk) *heap {
	for _, h := range p.heaps {
		if h.Table.Name == c.Table.Name && h.Leaf == c.Leaf && h.Filenode == c.Filenode && h.round == c.round {
			return h
		}
	}
	return nil
}

// Finish marks a chunk as read and emitted, and returns what is now finished of its heap; false where the heap was planned anew
// in the meantime, and the chunk counts for nothing.
func (p *Plan) Finish(c Chunk) (frontier.Load, bool) {
	h := p.find(c)
	if h == nil {
		return frontier.Load{}, false
	}
	h.out--
	h.tail = h.tail || c.Open || c.Whole
	h.done = insert(h.done, c.Range)
	h.step = min(h.full, h.step+h.step/4+1)
	return h.load(), true
}

// Again takes a chunk back, to be handed out once more; smaller says that it was too much at once.
func (p *Plan) Again(c Chunk, smaller bool) {
	h := p.find(c)
	if h == nil {
		return
	}
	h.out--
	if c.Whole {
		return
	}
	if smaller {
		h.step = max(1, min(h.step, c.Range.To-c.Range.From)/2)
	}
	h.todo = append([]frontier.Range{c.Range}, h.todo...)
}

// Grow takes an open chunk back because its heap is longer by now, and plans what came behind: else the open range could
// hold any amount of rows.
func (p *Plan) Grow(c Chunk, blocks uint32) {
	p.Again(c, false)
	h := p.find(c)
	if h == nil || blocks <= h.Blocks {
		return
	}
	h.todo = append(h.todo, frontier.Range{From: h.Blocks, To: blocks})
	h.Blocks = blocks
}

// Restart plans a heap anew, because it was rewritten or is to be read again, and returns its new, empty load.
func (p *Plan) Restart(h Heap) frontier.Load {
	if h.Table.Keyless() {
		return p.void(h)
	}
	n := &heap{Heap: h}
	n.step, n.todo = n.blocksPer(p.bytes), n.gaps()
	n.full = n.step
	for i, old := range p.heaps {
		if old.Table.Name == h.Table.Name && old.Leaf == h.Leaf {
			n.round = old.round + 1
			p.heaps[i] = n
		}
	}
	return n.load()
}

// Complete says that every heap is read to its end.
func (p *Plan) Complete() bool {
	for _, h := range p.heaps {
		if !h.complete() {
			return false
		}
	}
	return true
}

// Loads is the durable form of all heaps.
func (p *Plan) Loads() []frontier.Load {
	out := make([]frontier.Load, len(p.heaps))
	for i, h := range p.heaps {
		out[i] = h.load()
	}
	return out
}

// Heaps returns what is planned, for polling.
func (p *Plan) Heaps() []Heap {
	out := make([]Heap, len(p.heaps))
	for i, h := range p.heaps {
		out[i] = h.Heap
	}
	return out
}

func (h *heap) load() frontier.Load {
	return frontier.Load{
		Table: h.Table.Name, Leaf: h.Leaf, Filenode: h.Filenode, Blocks: h.Blocks,
		Done: append([]frontier.Range(nil), h.done...), Complete: h.complete(),
	}
}
