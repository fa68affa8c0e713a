package pgtarget

import (
	"segue/pkg/change"
	"segue/pkg/frontier"
)

// Plan is a list of batches made ready for the target: folded, its statements' parameters encoded. It stays valid until
// Release, also over retries.
type Plan struct {
	changes  []*change.Mapped // of all, those that are applied: see sift
	segments []segment
	to       frontier.Cursor // where the target stands behind it
	last     *frontier.Frontier
	counters Counters
	wants    bool // some change asks for a row
	copies   bool // some statement is a COPY
	buf      []byte

	all          []*change.Mapped
	folded       []segment // of all of them
	foldedCopies bool
	base         Counters
	faults       bool // some change has a fault
}

// Frontier is the one that the plan ends at.
func (p *Plan) Frontier() *frontier.Frontier { return p.last }

// End is where the target stands once the plan is committed.
func (p *Plan) End() frontier.Cursor { return p.to }

// ended is how many changes belong to source transactions that end inside the plan.
func (p *Plan) ended() int {
	n := len(p.all)
	if p.last.Boundary {
		return n
	}
	open := p.last.At
	for n > 0 && p.all[n-1].Pos.LSN == open.LSN && p.all[n-1].Pos.Epoch == open.Epoch {
		n--
	}
	return n
}

// Counters are the plan's own.
func (p *Plan) Counters() Counters { return p.counters }

// segment is what may be applied in any order that keeps its statements': deletes, upserts, updates, key changes.
type segment struct {
	statements []statement
	truncate   *truncation
}

// statement is one shape with the parameters of its rows.
type statement struct {
	shape   *shape
	params  [][]byte
	rows    int
	sources []int32 // per row the change to ask for, where the statement has to find its rows
	copy    []byte
	group   *group // what it was made of
}

// mayMiss says that rows of the statement may not be found, and that it tells which were.
func (s *statement) mayMiss() bool { return s.sources != nil }

// Prepare makes a plan of batches, the last of which may end inside a source transaction. It does no I/O and may run
// beside Apply, for one goroutine at a time.
func (t *Target) Prepare(batches []frontier.Batch[change.Mapped]) (*Plan, error) {
	last := &batches[len(batches)-1]
	p := &Plan{
		last: last.Frontier,
		to:   frontier.Cursor{Offset: last.Offset, Incarnation: last.Frontier.Incarnation, At: last.Frontier.At},
		buf:  t.buffers.take(),
	}
	total := 0
	for i := range batches {
		total += len(batches[i].Changes)
	}
	p.all = make([]*change.Mapped, 0, total)
	for i := range batches {
		for j := range batches[i].Changes {
			p.all = append(p.all, &batches[i].Changes[j])
		}
	}
	if err := t.setAside(p); err != nil {
		return nil, err
	}
	for _, m := range p.all {
		p.base.Changes++
		p.base.RowOps += int64(len(m.Ops))
		if filtered(m) {
			p.base.Filtered++
		}
		p.faults = p.faults || m.Fault != nil
		p.wants = p.wants || m.Want != nil
	}
	f := t.folder
	f.buf = p.buf
	var err error
	p.folded, err = f.run(p.all)
	p.buf = f.buf
	for i := range p.folded {
		for j := range p.folded[i].statements {
			p.foldedCopies = p.foldedCopies || p.folded[i].statements[j].copy != nil
		}
	}
	p.changes, p.segments, p.counters, p.copies = p.all, p.folded, p.base, p.foldedCopies
	return p, err
}

// filtered says that the change means nothing to the target.
func filtered(m *change.Mapped) bool { return len(m.Ops) == 0 && m.Want == nil && m.Fault == nil }

// Release gives the plan's memory back for another one.
func (t *Target) Release(p *Plan) {
	t.buffers.give(p.buf)
	*p = Plan{}
}

// run folds changes into segments.
func (f *folder) run(changes []*change.Mapped) ([]segment, error) {
	f.changes, f.closed, f.arena = changes, nil, nil
	defer func() { f.changes, f.closed, f.arena = nil, nil, nil }()
	for i, m := range changes {
		for j := range m.Ops {
			if err := f.add(int32(i), &m.Ops[j]); err != nil {
				f.drop()
				return nil, err
			}
		}
	}
	f.cut()
	return f.closed, nil
}

// drop forgets an open segment.
func (f *folder) drop() {
	for _, tf := range f.tables {
		tf.index.reset()
		tf.entries = tf.entries[:0]
	}
	for _, l := range f.lots {
		if l != nil {
			l.reset()
		}
	}
	f.moves, f.groups = f.moves[:0], 0
}
