package frontier

import (
	"fmt"
	"slices"

	"segue/pkg/change"
	"segue/pkg/table"
)

// Ledger is a writer's book: which changes it has sent, which of them Kafka has acknowledged, and which cuts are
// therefore due. A frontier is due when every change before its cut is acknowledged and every earlier frontier was
// due: the longest contiguous prefix. It is for one goroutine at a time.
type Ledger struct {
	incarnation int64
	lanes       []LaneEnd // by lane index: where each stands at the last frontier that was due, plus what ripened since
	moved       []int     // lanes with ripened changes since then
	prev        change.Position
	loads       map[table.Name]Load
	fresh       bool

	ring []sent // changes head..next-1, by sequence modulo its length (a power of two)
	head uint64 // the oldest change that has not ripened
	next uint64
	cuts []pending
}

type sent struct {
	lane   int32
	acked  bool
	offset int64
}

type pending struct {
	Cut
	upto uint64
	full bool
}

// NewLedger opens the book of a new incarnation that resumes at a state. The lanes are all that the writer will ever
// use. Those of the state that it does not name belong to tables that are no longer taken: they are carried on as they are, so that full
// frontiers go on to list them and their counts go on to add up when the table is taken again.
func NewLedger(incarnation int64, lanes []Lane, resumed *State) *Ledger {
	l := &Ledger{
		incarnation: incarnation, lanes: make([]LaneEnd, len(lanes)), prev: resumed.At, fresh: true,
		loads: map[table.Name]Load{}, ring: make([]sent, 1024),
	}
	used := make(map[Lane]bool, len(lanes))
	for i, lane := range lanes {
		end := resumed.Lanes[lane]
		l.lanes[i] = LaneEnd{Lane: lane, End: end.End, Total: end.Total}
		used[lane] = true
	}
	for _, lane := range resumed.LaneList() {
		if end := resumed.Lanes[lane]; !used[lane] {
			l.lanes = append(l.lanes, LaneEnd{Lane: lane, End: end.End, Total: end.Total})
		}
	}
	for leaf, load := range resumed.Loads {
		l.loads[leaf] = load
	}
	return l
}

// Next is the sequence that the next change gets: a cut up to Next covers everything sent so far.
func (l *Ledger) Next() uint64 { return l.next }

// Sent enters a change that goes to the lane and returns its sequence.
func (l *Ledger) Sent(lane int) uint64 {
	if l.next-l.head == uint64(len(l.ring)) {
		l.grow()
	}
	l.ring[l.next&uint64(len(l.ring)-1)] = sent{lane: int32(lane)}
	l.next++
	return l.next - 1
}

func (l *Ledger) grow() {
	ring := make([]sent, 2*len(l.ring))
	for seq := l.head; seq < l.next; seq++ {
		ring[seq&uint64(len(ring)-1)] = l.ring[seq&uint64(len(l.ring)-1)]
	}
	l.ring = ring
}

// Acked enters the offset that Kafka gave to the change.
func (l *Ledger) Acked(seq uint64, offset int64) {
	e := &l.ring[seq&uint64(len(l.ring)-1)]
	e.acked, e.offset = true, offset
}

// Cut enters a cut behind the changes below the sequence upto. Cuts come in order.
func (l *Ledger) Cut(c Cut, upto uint64, full bool) {
	l.cuts = append(l.cuts, pending{Cut: c, upto: upto, full: full})
}

// InFlight is how many cuts are not due yet.
func (l *Ledger) InFlight() int { return len(l.cuts) }

// Due returns the next frontier that is due, nil where none is. Written is left to the caller.
func (l *Ledger) Due() (*Frontier, error) {
	if len(l.cuts) == 0 {
		return nil, nil //nolint:nilnil // nothing is due: not an error
	}
	cut := &l.cuts[0]
	if err := l.ripen(cut.upto); err != nil || l.head < cut.upto {
		return nil, err
	}
	f := l.frontier(cut)
	l.cuts = slices.Delete(l.cuts, 0, 1)
	return f, nil
}

// ripen moves over the acknowledged changes below upto, in the order in which they were sent.
func (l *Ledger) ripen(upto uint64) error {
	for l.head < upto {
		e := &l.ring[l.head&uint64(len(l.ring)-1)]
		if !e.acked {
			return nil
		}
		lane := &l.lanes[e.lane]
		if e.offset < lane.End {
			return fmt.Errorf("lane %s/%d: offset %d acknowledged behind end %d: %w",
				lane.Lane.Table, lane.Lane.Partition, e.offset, lane.End, ErrLost)
		}
		if lane.Count == 0 {
			l.moved = append(l.moved, int(e.lane))
		}
		lane.End = e.offset + 1
		lane.Count++
		lane.Total++
		l.head++
	}
	return nil
}

func (l *Ledger) frontier(cut *pending) *Frontier {
	f := &Frontier{
		Incarnation: l.incarnation, Prev: l.prev, At: cut.At, Full: cut.full || l.fresh, Boundary: cut.Boundary,
		Confirm: cut.Confirm, Requests: cut.Requests, Loads: cut.Loads, Loaded: cut.Loaded, Marks: cut.Marks,
		Committed: cut.Committed,
	}
	for _, load := range cut.Loads {
		l.loads[load.Leaf] = load
	}
	if f.Full {
		f.Lanes = slices.Clone(l.lanes)
		f.Source = cut.Source
		f.Loads = l.allLoads()
	} else {
		for _, i := range l.moved {
			f.Lanes = append(f.Lanes, l.lanes[i])
		}
	}
	for _, i := range l.moved {
		l.lanes[i].Count = 0
	}
	l.moved, l.fresh, l.prev = l.moved[:0], false, cut.At
	return f
}

func (l *Ledger) allLoads() []Load {
	out := make([]Load, 0, len(l.loads))
	for _, load := range l.loads {
		out = append(out, load)
	}
	slices.SortFunc(out, func(a, b Load) int {
		return compareNames(a.Leaf, b.Leaf)
	})
	return out
}
