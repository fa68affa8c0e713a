package frontier

import (
	"cmp"
	"errors"
	"fmt"
)

// Verdict is what the Log found a record of the frontier topic to be.
type Verdict uint8

// The verdicts.
const (
	Void  Verdict = iota // a frontier of a writer that a later claim has taken over from: ignore it
	Valid                // a frontier that counts
	Taken                // a claim: everything beyond the last valid boundary frontier is taken back
)

// ErrLost marks the errors that mean that Kafka no longer holds what it had acknowledged, or that somebody else writes there.
var ErrLost = errors.New("kafka lost data")

// Log folds the records of one frontier topic, in order and without gaps, into the state at its last valid boundary
// frontier. The zero value is not ready: use NewLog.
type Log struct {
	base   State // at the last valid boundary frontier
	open   State // at the last valid frontier, where that is not a boundary: only what moved beyond base is in its maps
	ahead  bool  // open is in force
	claim  int64
	holder *Claim
	// fresh: no valid frontier has come since the last claim, so the next one lists all lanes.
	fresh bool
	// adopt: trimming took what came before; the next valid frontier is taken as it is.
	adopt bool
	seen  int64 // the offset of the last record
}

// NewLog starts at the beginning of a topic, wherever trimming left that.
func NewLog() *Log { return &Log{base: NewState(), claim: -1, seen: -1} }

// Boundary is the state at the last valid boundary frontier. It is the Log's own: clone it to keep it.
func (l *Log) Boundary() *State { return &l.base }

// Claim is the incarnation in force, -1 where none is known, and its claim, nil where trimming took it.
func (l *Log) Claim() (int64, *Claim) { return l.claim, l.holder }

// Seen is the offset of the last record, -1 before the first.
func (l *Log) Seen() int64 { return l.seen }

// Ahead says whether valid frontiers stand behind the last boundary: a transaction is under way.
func (l *Log) Ahead() bool { return l.ahead }

// Valid says whether the frontier would be valid as the next record.
func (l *Log) Valid(f *Frontier) bool {
	return f.Incarnation == l.claim || l.seen < 0 // the first that trimming leaves is valid
}

// Add takes the next record. An error is fatal: the topic does not hold what its writers wrote.
func (l *Log) Add(rec Record) (Verdict, error) {
	if rec.Offset <= l.seen {
		return Void, fmt.Errorf("frontier record %d after %d: %w", rec.Offset, l.seen, ErrLost)
	}
	first := l.seen < 0
	if rec.Claim != nil {
		l.seen = rec.Offset
		l.claim, l.holder, l.fresh = rec.Offset, rec.Claim, true
		l.adopt = l.adopt || (first && rec.Offset > 0)
		l.ahead, l.open = false, State{}
		return Taken, nil
	}
	f := rec.Frontier
	if !l.Valid(f) {
		l.seen = rec.Offset
		return Void, nil
	}
	if first {
		l.claim, l.fresh, l.adopt = f.Incarnation, true, true
	}
	if err := l.check(f); err != nil {
		return Void, fmt.Errorf("frontier record %d at %s: %w", rec.Offset, f.At, err)
	}
	l.seen = rec.Offset
	l.take(rec.Offset, f)
	return Valid, nil
}

func (l *Log) take(offset int64, f *Frontier) {
	l.fresh, l.adopt = false, false
	if f.Boundary {
		if l.ahead {
			for lane, end := range l.open.Lanes {
				l.base.Lanes[lane] = end
			}
			for leaf, load := range l.open.Loads {
				l.base.Loads[leaf] = load
			}
			l.ahead, l.open = false, State{}
		}
		l.base.take(offset, f)
		return
	}
	if !l.ahead {
		l.ahead, l.open = true, NewState()
	}
	l.open.take(offset, f)
}

// tip returns the lane's state at the last valid frontier.
func (l *Log) tip(lane Lane) LaneEnd {
	if l.ahead {
		if end, ok := l.open.Lanes[lane]; ok {
			return end
		}
	}
	return l.base.Lanes[lane]
}

// check holds rule 3 and 5 for a valid frontier.
func (l *Log) check(f *Frontier) error {
	if l.fresh && !f.Full {
		return fmt.Errorf("the first frontier behind claim %d does not list all lanes: %w", l.claim, ErrLost)
	}
	if l.adopt {
		if !f.Boundary {
			return fmt.Errorf("the first frontier left is inside a transaction: %w", ErrLost)
		}
		return nil
	}
	at := l.base.At
	if l.ahead {
		at = l.open.At
	}
	if f.Prev != at {
		return fmt.Errorf("its predecessor is %s, the last one was %s: %w", f.Prev, at, ErrLost)
	}
	if f.At.Before(f.Prev) {
		return fmt.Errorf("it goes back from %s: %w", f.Prev, ErrLost)
	}
	listed := 0
	for _, e := range f.Lanes {
		was := l.tip(e.Lane)
		if e.Count < 0 || e.End < was.End || e.Total != was.Total+e.Count || e.End-was.End < e.Count {
			return fmt.Errorf("lane %s/%d: end %d, count %d, total %d after end %d, total %d: %w",
				e.Lane.Table, e.Lane.Partition, e.End, e.Count, e.Total, was.End, was.Total, ErrLost)
		}
		if _, known := l.base.Lanes[e.Lane]; known {
			listed++
		}
	}
	if f.Full && listed < len(l.base.Lanes) {
		return fmt.Errorf("a full frontier lists %d of %d lanes: %w", listed, len(l.base.Lanes), ErrLost)
	}
	return nil
}

func (a Lane) compare(b Lane) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Partition, b.Partition))
}
