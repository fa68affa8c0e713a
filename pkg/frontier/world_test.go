package frontier

import (
	"fmt"
	"math/rand/v2"

	"segue/pkg/change"
)

// A world holds what the model test explores: a source with a slot, two hops of topics, writers that crash, are paused and are doubled, a
// stage between the hops, and a target. Everything that may be in flight is a queue whose head lands, or is lost, at
// the moment that the random schedule picks.

type hop struct {
	topic  []Record
	start  int // trimmed up to here
	lanes  [][]Message
	starts []int64
}

func newHop(lanes int) *hop {
	return &hop{lanes: make([][]Message, lanes), starts: make([]int64, lanes)}
}

func laneNames(n int) []Lane {
	out := make([]Lane, n)
	for i := range out {
		out[i] = Lane{Table: fmt.Sprintf("public.t%d", i/2), Partition: int32(i % 2)}
	}
	return out
}

func (h *hop) fold(upto int) (*Log, error) {
	log := NewLog()
	for i := h.start; i < upto; i++ {
		if _, err := log.Add(h.topic[i]); err != nil {
			return nil, err
		}
	}
	return log, nil
}

// sending is a lane record on its way to the broker.
type sending struct {
	msg Message
	seq uint64
}

// writer is one process that writes to a hop. Its queues outlive it: what a dead process sent may still land.
type writer struct {
	hop    *hop
	ledger *Ledger
	log    *Log
	read   int // of the frontier topic
	inc    int64
	state  State // resumed
	out    [][]sending
	acks   [][]sending
	front  []Record // claims and frontiers on their way
	gone   bool     // the process is dead: no acknowledgement reaches it
	broken bool     // a batch was refused, or a later claim was seen: it sends nothing more
	valid  *Frontier
	validN int64
}

func newWriter(h *hop) *writer {
	w := &writer{hop: h, inc: -1, out: make([][]sending, len(h.lanes)), acks: make([][]sending, len(h.lanes))}
	w.front = append(w.front, Record{Claim: &Claim{}})
	return w
}

func (w *writer) alive() bool   { return !w.gone && !w.broken }
func (w *writer) working() bool { return w.alive() && w.ledger != nil }

func (w *writer) append(lane int, pos change.Position) {
	seq := w.ledger.Sent(lane)
	w.out[lane] = append(w.out[lane], sending{Message{Incarnation: w.inc, Pos: pos}, seq})
}

// land lets the head of a lane's queue reach the broker.
func (w *writer) land(lane int) bool {
	if len(w.out[lane]) == 0 {
		return false
	}
	s := w.out[lane][0]
	w.out[lane] = w.out[lane][1:]
	s.msg.Offset = int64(len(w.hop.lanes[lane]))
	w.hop.lanes[lane] = append(w.hop.lanes[lane], s.msg)
	w.acks[lane] = append(w.acks[lane], s)
	return true
}

func (w *writer) ack(lane int) bool {
	if !w.working() || len(w.acks[lane]) == 0 {
		return false
	}
	s := w.acks[lane][0]
	w.acks[lane] = w.acks[lane][1:]
	if s.msg.Incarnation == w.inc { // a stage that claimed anew forgets what it sent before
		w.ledger.Acked(s.seq, s.msg.Offset)
	}
	return true
}

// refuse makes the broker refuse the head of a lane's queue: the producer stops for good.
func (w *writer) refuse(lane int) bool {
	if len(w.out[lane]) == 0 {
		return false
	}
	w.out[lane] = nil
	w.broken = true
	return true
}

func (w *writer) due() (bool, error) {
	if !w.working() {
		return false, nil
	}
	f, err := w.ledger.Due()
	if f == nil || err != nil {
		return false, err
	}
	w.front = append(w.front, Record{Frontier: f})
	return true, nil
}

func (w *writer) landFrontier() bool {
	if len(w.front) == 0 {
		return false
	}
	rec := w.front[0]
	w.front = w.front[1:]
	rec.Offset = int64(len(w.hop.topic))
	w.hop.topic = append(w.hop.topic, rec)
	if rec.Claim != nil && w.alive() {
		w.inc = rec.Offset
	}
	return true
}

// open folds the topic up to the writer's claim, as a starting process does.
func (w *writer) open(lanes []Lane) error {
	log, err := w.hop.fold(int(w.inc))
	if err != nil {
		return err
	}
	w.state = log.Boundary().Clone()
	for lane, end := range w.state.Lanes {
		for i, l := range lanes {
			if l == lane && int64(len(w.hop.lanes[i])) < end.End {
				return fmt.Errorf("lane %v is shorter than its end", lane)
			}
		}
	}
	w.ledger = NewLedger(w.inc, lanes, &w.state)
	w.log, w.read, w.valid = log, int(w.inc), nil
	return nil
}

// readBack takes one record of the own frontier topic.
func (w *writer) readBack() (bool, error) {
	if !w.working() || w.read >= len(w.hop.topic) {
		return false, nil
	}
	rec := w.hop.topic[w.read]
	w.read++
	verdict, err := w.log.Add(rec)
	switch {
	case err != nil:
		return false, err
	case verdict == Taken && rec.Offset > w.inc:
		w.broken = true
	case verdict == Valid && rec.Frontier.Boundary:
		w.valid, w.validN = rec.Frontier, rec.Offset
	}
	return true, nil
}

// consumer reads a hop.
type consumer struct {
	hop    *hop
	merger *Merger
	read   int
	laneAt []int64
	open   []change.Position // beyond the last boundary
}

func openConsumer(h *hop, lanes []Lane, at Cursor) (*consumer, error) {
	log, err := h.fold(int(at.Offset) + 1)
	if err != nil {
		return nil, err
	}
	if b := log.Boundary(); b.Cursor() != at {
		return nil, fmt.Errorf("the topic has %v at the cursor %v", b.Cursor(), at)
	}
	c := &consumer{hop: h, merger: NewMerger(log, lanes), read: max(h.start, int(at.Offset)+1), laneAt: make([]int64, len(lanes))}
	for i := range lanes {
		c.laneAt[i] = c.merger.Start(i)
		if c.laneAt[i] < h.starts[i] {
			return nil, fmt.Errorf("lane %d was trimmed to %d, wanted from %d", i, h.starts[i], c.laneAt[i])
		}
	}
	return c, nil
}

func (c *consumer) fetchFrontier() bool {
	if c.read >= len(c.hop.topic) {
		return false
	}
	c.merger.Frontier(c.hop.topic[c.read])
	c.read++
	return true
}

func (c *consumer) fetchLane(i int) bool {
	if c.laneAt[i] >= int64(len(c.hop.lanes[i])) {
		return false
	}
	c.merger.Lane(i, c.hop.lanes[i][c.laneAt[i]])
	c.laneAt[i]++
	return true
}

// trim removes what lies behind a random full frontier at or before the cursor.
func (h *hop) trim(rnd *rand.Rand, lanes []Lane, cursor int64) error {
	log := NewLog()
	for i := h.start; i <= int(cursor); i++ {
		rec := h.topic[i]
		verdict, err := log.Add(rec)
		if err != nil {
			return err
		}
		if verdict == Valid && rec.Frontier.Full && rec.Frontier.Boundary && rnd.IntN(3) == 0 {
			h.start = i
			for n, lane := range lanes {
				h.starts[n] = log.Boundary().Lanes[lane].End
			}
			return nil
		}
	}
	return nil
}
