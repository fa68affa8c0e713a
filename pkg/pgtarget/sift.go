package pgtarget

import (
	"slices"

	"segue/pkg/change"
)

// sift takes out of a plan what is parked with it, before anything of it is applied: changes with a fault, and changes of parked keys
// that do not hold the whole row. It runs again with every attempt, for what is parked may be another thing then.
//
// Invariant: a change that is applied touches no key that is parked behind it, and needs no row that is parked before it.
func (t *Target) sift(p *Plan) error {
	p.changes, p.segments, p.counters, p.copies = p.all, p.folded, p.base, p.foldedCopies
	kept, differs, err := t.siftPart(p, 0, len(p.all), nil)
	if err != nil || !differs {
		return err
	}
	p.changes = kept
	t.halver.buf = nil
	p.segments, err = t.halver.run(p.changes)
	p.copies = false
	return err
}

// siftPart does so for the changes [from, to), which come behind what was sifted before. refused says which changes the target refuses, by their
// places in the plan. differs says that the kept ones are not simply all of them.
func (t *Target) siftPart(p *Plan, from, to int, refused map[int]refusal) (kept []*change.Mapped, differs bool, err error) {
	if !p.faults && len(refused)+len(t.known.rows) == 0 && t.parked.len() == 0 && !t.tx.parking.begun {
		return p.all[from:to], false, nil
	}
	t.openParking()
	s := sifting{t: t, plan: p, all: p.all[from:to]}
	for i, m := range s.all {
		r, ok := refused[from+i]
		if !ok {
			r, _ = t.knownOf(m)
		}
		if err := s.change(i, m, r); err != nil {
			return nil, false, err
		}
	}
	if !s.differs {
		return s.all, false, nil
	}
	return s.kept, true, nil
}

// refusal is why the target does not take a change.
type refusal struct {
	fault change.Fault
	cause rowKey // the parked row that it misses; none: it does not wait for another one
}

// sifting is one run over some of a plan's changes. The list of those that are kept is made once it differs.
type sifting struct {
	t       *Target
	plan    *Plan
	all     []*change.Mapped
	kept    []*change.Mapped
	differs bool
}

// differ begins a list of its own, with what was kept so far.
func (s *sifting) differ(i int) {
	if !s.differs {
		s.differs, s.kept = true, slices.Clone(s.all[:i])
	}
}

func (s *sifting) keep(m *change.Mapped) {
	if s.differs {
		s.kept = append(s.kept, m)
	}
}

func (s *sifting) change(i int, m *change.Mapped, refused refusal) error {
	t := s.t
	switch {
	case m.SourceOp == change.Truncate:
		t.empty(m)
		s.keep(m)
		return nil
	case m.Fault != nil:
		s.count(m)
		s.keep(m) // it holds no operations
		return s.park(m, *m.Fault, rowKey{})
	case refused.fault.Code != "":
		if supersedes(m) { // what was parked before is of no matter any more: this is why it is parked now
			t.settle(m, m.SourceKey)
			t.leaves(m)
		}
		s.differ(i)
		s.count(m)
		return s.park(m, refused.fault, refused.cause)
	}
	here, there := t.parkedNow(m.Source, m.SourceKey), t.parkedNow(m.Source, m.OldKey)
	switch {
	case !here && !there:
		s.keep(m)
	case !supersedes(m) || (here && !refills(m)):
		s.differ(i)
		s.count(m)
		return s.park(m, change.Fault{
			Stage: Stage, Code: change.FaultJoined, Text: "it does not hold the whole row, and earlier changes of the row are parked",
		}, s.joined(m))
	default:
		t.settle(m, m.SourceKey)
		t.leaves(m)
		if here && (m.OldKey != nil || m.SourceOp == change.Insert) {
			// What the target has under this key is of a row that is there no more: it makes room. Where others would go with it, it stays: an
			// insert writes over it, and a key change is refused.
			s.differ(i)
			m = vacated(m, t.targets)
		}
		s.keep(m)
	}
	return nil
}

// joined is the parked key that a joining change waits for.
func (s *sifting) joined(m *change.Mapped) rowKey {
	if s.t.parkedNow(m.Source, m.OldKey) {
		return rowKey{m.Source, m.OldKey}
	}
	return rowKey{m.Source, m.SourceKey}
}

// park parks both keys of a change: what became of the old one is not known either.
func (s *sifting) park(m *change.Mapped, f change.Fault, cause rowKey) error {
	if m.OldKey != nil {
		if err := s.t.park(m, m.OldKey, f, cause); err != nil {
			return err
		}
	}
	return s.t.park(m, m.SourceKey, f, cause)
}

// count moves a change from what is applied to what is parked.
func (s *sifting) count(m *change.Mapped) {
	c := &s.plan.counters
	was := *c
	s.t.tx.parking.noteUndo(func() { *c = was })
	c.Parked++
	c.RowOps -= int64(len(m.Ops))
	if filtered(m) {
		c.Filtered--
	}
}

// supersedes says that nothing before the change matters for its row any more: it carries the whole target row, or deletes it.
func supersedes(m *change.Mapped) bool {
	if m.Want != nil || len(m.Ops) == 0 {
		return false
	}
	for i := range m.Ops {
		if m.Ops[i].Op != change.Delete && !m.Ops[i].Row.Whole() {
			return false
		}
	}
	return true
}

// refills says that a change leaves nothing under its source key but the row that it carries. One that changes the key and takes the row
// off the target names only the old key, and what stands under the new one would stay.
func refills(m *change.Mapped) bool {
	if m.OldKey == nil {
		return true
	}
	for i := range m.Ops {
		if m.Ops[i].Row == nil {
			return false
		}
	}
	return true
}

// vacated is the change with a delete of what stands under its row's key in front.
func vacated(m *change.Mapped, targets []*target) *change.Mapped {
	out := *m
	out.Ops = nil
	for _, op := range m.Ops {
		if op.Row != nil && op.Target >= 0 && op.Target < len(targets) && !targets[op.Target].cascades {
			var key change.Row
			for _, k := range targets[op.Target].Key {
				key = append(key, op.Row[k])
			}
			out.Ops = append(out.Ops, change.RowOp{Target: op.Target, Op: change.Delete, Key: key})
		}
		out.Ops = append(out.Ops, op)
	}
	return &out
}
