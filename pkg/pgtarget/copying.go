package pgtarget

import (
	"slices"
	"sync"
)

// copying decides where rows may go in by COPY, the fastest way, which knows no conflicts: during the initial load, for rows
// that chunks found. Where it meets a row that is there already, its table goes by upserts for a while, longer each time.
type copying struct {
	mu     sync.Mutex
	tables []copyState
}

type copyState struct {
	allowed bool
	pause   int // statements to go by upserts
	next    int // the next pause
}

const (
	firstPause = 8
	maxPause   = 512
)

func newCopying() *copying { return &copying{} }

func (c *copying) reset(tables int, allowed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tables = slices.Repeat([]copyState{{allowed: allowed, next: firstPause}}, tables)
}

// may says whether the next statement of the table is a COPY.
func (c *copying) may(home int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.tables[home]
	if s.pause > 0 {
		s.pause--
		return false
	}
	return s.allowed
}

// failed notes that a COPY of the table met a row that was there.
func (c *copying) failed(home int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.tables[home]
	s.pause, s.next = s.next, min(2*s.next, maxPause)
}

// sorted is a sorted copy.
func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }
