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
	if !p.faults && t.parked.len() == 0 && !t.tx.parking.begun {
		return nil
	}
	s := sifting{t: t, plan: p}
	for i, m := range p.all {
		if err := s.change(i, m); err != nil {
			return err
		}
	}
	if !s.differs {
		return nil
	}
	p.changes = s.kept
	t.halver.buf = nil
	var err error
	p.segments, err = t.halver.run(p.changes)
	p.copies = false
	return err
}

// sifting is one run over a plan's changes. The list of those that are kept is made once it differs.
type sifting struct {
	t       *Target
	plan    *Plan
	kept    []*change.Mapped
	differs bool
}

// differ begins a list of its own, with what was kept so far.
func (s *sifting) differ(i int) {
	if !s.differs {
		s.differs, s.kept = true, slices.Clone(s.plan.all[:i])
	}
}

func (s *sifting) keep(m *change.Mapped) {
	if s.differs {
		s.kept = append(s.kept, m)
	}
}

func (s *sifting) change(i int, m *change.Mapped) error {
	t := s.t
	switch {
	case m.SourceOp == change.Truncate:
		t.empty(m)
		s.keep(m)
		return nil
	case m.Fault != nil:
		s.count(m)
		s.keep(m) // it holds no operations
		return s.park(m, *m.Fault)
	}
	_, here := t.parkedAt(m.Source, m.SourceKey)
	_, there := t.parkedAt(m.Source, m.OldKey)
	switch {
	case !here && !there:
		s.keep(m)
	case !supersedes(m) || (here && !refills(m)):
		s.differ(i)
		s.count(m)
		return s.park(m, change.Fault{
			Stage: "applier", Code: change.FaultJoined, Text: "it does not hold the whole row, and earlier changes of the row are parked",
		})
	default:
		t.settle(m, m.SourceKey)
		t.settle(m, m.OldKey)
		if here && (m.OldKey != nil || m.SourceOp == change.Insert) {
			// What the target has under this key is of a row that is there no more: it makes room.
			s.differ(i)
			m = vacated(m, t.targets)
		}
		s.keep(m)
	}
	return nil
}

// park parks both keys of a change: what became of the old one is not known either. The second one names the first as its cause.
func (s *sifting) park(m *change.Mapped, f change.Fault) error {
	cause := change.Position{}
	if at, ok := s.t.parkedAt(m.Source, m.SourceKey); ok && f.Code == change.FaultJoined {
		cause = at
	}
	if at, ok := s.t.parkedAt(m.Source, m.OldKey); ok && f.Code == change.FaultJoined {
		cause = at
	}
	if m.OldKey != nil {
		if err := s.t.park(m, m.OldKey, f, cause); err != nil {
			return err
		}
	}
	return s.t.park(m, m.SourceKey, f, cause)
}

// count moves a change from what is applied to what is parked.
func (s *sifting) count(m *change.Mapped) {
	s.plan.counters.Parked++
	s.plan.counters.RowOps -= int64(len(m.Ops))
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
		if op.Row != nil && op.Target >= 0 && op.Target < len(targets) {
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
