package chunk

import "segue/pkg/change"

// Span keeps the newest of a table's changes, in stream order, up to a number of bytes. Unlike a Window it gives up the oldest ones: what a
// whole load needs of it begins at a position that becomes known soon after the stream may have passed it.
type Span struct {
	limit   int
	size    int
	changes []*change.Change
	gone    uint64 // the commit LSN of the newest change that was given up; of its transaction nothing counts
}

// NewSpan opens a span as a load begins.
func NewSpan(limit int) *Span { return &Span{limit: limit} }

// Add takes a change with its position. The span keeps it, as Window.Add does.
func (s *Span) Add(c *change.Change) {
	s.changes = append(s.changes, c)
	s.size += spanSize(c)
	drop := 0
	for ; s.size > s.limit; drop++ {
		s.size -= spanSize(s.changes[drop])
		s.gone = s.changes[drop].Pos.LSN
	}
	if drop > 0 {
		clear(s.changes[:drop])
		s.changes = s.changes[drop:]
	}
}

func spanSize(c *change.Change) int { return c.Before.Size() + c.After.Size() + 128 }

// From returns the changes that were committed at lsn or behind it; false where the span no longer has all of them.
func (s *Span) From(lsn uint64) ([]*change.Change, bool) {
	if s.gone >= lsn {
		return nil, false
	}
	for i, c := range s.changes {
		if c.Pos.LSN >= lsn {
			return s.changes[i:], true
		}
	}
	return nil, true
}
