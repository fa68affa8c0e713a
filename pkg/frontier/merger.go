package frontier

import (
	"cmp"
	"fmt"
	"slices"

	"segue/pkg/table"
)

// Merger is the consumer's side of a hop: it is fed the records of the frontier topic and of the lanes, each in its
// own order and at its own pace, and yields batches and claims in the order of the frontier topic. It is for one goroutine.
type Merger struct {
	log   *Log
	lanes []queue
	index map[Lane]int
	todo  []Record // of the frontier topic, not yet judged
	bytes int      // held in all queues
	left  map[string]bool
}

type queue struct {
	held  []Message // ascending offsets; those before first are gone
	first int
	next  int64 // the offset behind the last record that came
}

// drop forgets the first n held records, and moves the rest only now and then.
func (q *queue) drop(n int) {
	clear(q.held[q.first : q.first+n])
	q.first += n
	if 2*q.first >= len(q.held) {
		q.held = slices.Delete(q.held, 0, q.first)
		q.first = 0
	}
}

// NewMerger starts behind a log's last valid boundary frontier. The log must have been folded exactly up to the
// consumer's cursor; the Merger owns it from here on.
func NewMerger(log *Log, lanes []Lane) *Merger {
	m := &Merger{log: log, lanes: make([]queue, len(lanes)), index: make(map[Lane]int, len(lanes))}
	for i, lane := range lanes {
		m.index[lane] = i
		m.lanes[i].next = log.Boundary().Lanes[lane].End
	}
	return m
}

// Leave passes over the lanes of a table that was taken out of the migration, and that the consumer does not have: their changes are nobody's.
func (m *Merger) Leave(topic string) {
	if m.left == nil {
		m.left = map[string]bool{}
	}
	m.left[topic] = true
}

// Start is the offset that lane i must be read from.
func (m *Merger) Start(i int) int64 { return m.lanes[i].next }

// Held is how many bytes of lane records wait for their frontier.
func (m *Merger) Held() int { return m.bytes }

// Queued is how many records of the frontier topic wait for their lanes.
func (m *Merger) Queued() int { return len(m.todo) }

// State is the state at the last boundary batch that was yielded. It is the Merger's own: clone it to keep it.
func (m *Merger) State() *State { return m.log.Boundary() }

// Frontier takes the next record of the frontier topic.
func (m *Merger) Frontier(rec Record) { m.todo = append(m.todo, rec) }

// Lane takes the next record of lane i.
func (m *Merger) Lane(i int, msg Message) {
	q := &m.lanes[i]
	q.next = msg.Offset + 1
	if claim, _ := m.log.Claim(); msg.Incarnation < claim {
		return // every frontier still to come is of that claim or a later one
	}
	msg.Lane = i
	q.held = append(q.held, msg)
	m.bytes += size(&msg)
}

// Behind says whether the oldest waiting frontier needs more of lane i: such a lane is read on, however much is held.
func (m *Merger) Behind(i int) bool {
	for n := range m.todo {
		f := m.todo[n].Frontier
		if f == nil {
			return false
		}
		if !m.log.Valid(f) {
			continue
		}
		for _, e := range f.Lanes {
			if at, ok := m.index[e.Lane]; ok && at == i {
				return m.lanes[i].next < e.End
			}
		}
		return false
	}
	return false
}

// Next returns the next event, and false where more records must come first. An error is fatal.
func (m *Merger) Next() (Event[Message], bool, error) {
	for len(m.todo) > 0 {
		rec := m.todo[0]
		if f := rec.Frontier; f != nil && m.log.Valid(f) && !m.arrived(f) {
			return Event[Message]{}, false, nil
		}
		m.todo[0] = Record{} // a backlog waits behind it: nothing is moved
		m.todo = m.todo[1:]
		event, ok, err := m.judge(rec)
		if ok || err != nil {
			return event, ok, err
		}
	}
	return Event[Message]{}, false, nil
}

func (m *Merger) arrived(f *Frontier) bool {
	for _, e := range f.Lanes {
		if i, ok := m.index[e.Lane]; ok && m.lanes[i].next < e.End {
			return false
		}
	}
	return true
}

func (m *Merger) judge(rec Record) (Event[Message], bool, error) {
	if m.log.Seen() < 0 && rec.Offset > 0 {
		return Event[Message]{}, false, fmt.Errorf("the topic begins at record %d, nothing before it was taken: %w", rec.Offset, ErrLost)
	}
	verdict, err := m.log.Add(rec)
	switch {
	case err != nil:
		return Event[Message]{}, false, err
	case verdict == Taken:
		m.purge(rec.Offset)
		return Event[Message]{Claim: &rec}, true, nil
	case verdict == Void:
		return Event[Message]{}, false, nil
	}
	changes, err := m.merge(rec.Frontier)
	if err != nil {
		return Event[Message]{}, false, fmt.Errorf("frontier record %d at %s: %w", rec.Offset, rec.Frontier.At, err)
	}
	batch := &Batch[Message]{Offset: rec.Offset, Frontier: rec.Frontier, Changes: changes}
	return Event[Message]{Batch: batch}, true, nil
}

// purge drops what older incarnations left: nothing will ever count it.
func (m *Merger) purge(claim int64) {
	for i := range m.lanes {
		q := &m.lanes[i]
		q.held = slices.Delete(q.held, 0, q.first)
		q.first = 0
		q.held = slices.DeleteFunc(q.held, func(msg Message) bool {
			if msg.Incarnation >= claim {
				return false
			}
			m.bytes -= size(&msg)
			return true
		})
	}
}

// merge takes the frontier's changes off the queues, in position order, and holds its counts.
func (m *Merger) merge(f *Frontier) ([]Message, error) {
	total, runs := int64(0), 0
	for _, e := range f.Lanes {
		if m.left[e.Lane.Table] {
			continue
		}
		total += e.Count
		if e.Count > 0 {
			runs++
		}
	}
	changes := make([]Message, 0, total)
	for _, e := range f.Lanes {
		i, ok := m.index[e.Lane]
		if !ok {
			if e.Count == 0 || m.left[e.Lane.Table] {
				continue
			}
			return nil, fmt.Errorf("lane %s/%d is not among the consumer's", e.Lane.Table, e.Lane.Partition)
		}
		var err error
		if changes, err = m.take(changes, i, e, f); err != nil {
			return nil, err
		}
	}
	if runs > 1 {
		slices.SortFunc(changes, func(a, b Message) int { return a.Pos.Compare(b.Pos) })
	}
	return changes, nil
}

func (m *Merger) take(changes []Message, lane int, end LaneEnd, f *Frontier) ([]Message, error) {
	q, last, before := &m.lanes[lane], f.Prev, len(changes)
	n := 0
	for held := q.held[q.first:]; n < len(held) && held[n].Offset < end.End; n++ {
		msg := &held[n]
		m.bytes -= size(msg)
		if msg.Incarnation < f.Incarnation {
			continue // void
		}
		// Invariant: a later claim's records lie behind every end that an earlier valid frontier names.
		if msg.Incarnation > f.Incarnation {
			return nil, fmt.Errorf("lane %s/%d, offset %d: incarnation %d below the end of %d: %w",
				end.Lane.Table, end.Lane.Partition, msg.Offset, msg.Incarnation, f.Incarnation, ErrLost)
		}
		if !last.Before(msg.Pos) || f.At.Before(msg.Pos) {
			return nil, fmt.Errorf("lane %s/%d, offset %d: position %s outside (%s, %s]: %w",
				end.Lane.Table, end.Lane.Partition, msg.Offset, msg.Pos, last, f.At, ErrLost)
		}
		last = msg.Pos
		changes = append(changes, *msg)
	}
	q.drop(n)
	if got := int64(len(changes) - before); got != end.Count {
		return nil, fmt.Errorf("lane %s/%d holds %d changes below offset %d, the frontier counts %d: %w",
			end.Lane.Table, end.Lane.Partition, got, end.End, end.Count, ErrLost)
	}
	return changes, nil
}

// overhead is about what a held record costs beside its bytes.
const overhead = 128

func size(m *Message) int { return len(m.Key) + len(m.Value) + overhead }

func compareNames(a, b table.Name) int {
	return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Table, b.Table))
}
