package reader

import (
	"sync/atomic"

	"segue/pkg/chunk"
)

// Progress is how far the initial load of one table is.
type Progress = chunk.Progress

// current is the life under way, for those who look from outside.
type current struct{ session atomic.Pointer[session] }

func (c *current) set(s *session) { c.session.Store(s) }

// Progress is how far the initial load is, by table; nil while the reader is not connected.
func (r *Reader) Progress() map[string]Progress {
	s := r.current.session.Load()
	if s == nil {
		return nil
	}
	return s.progress()
}

func (s *session) progress() (out map[string]Progress) {
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	return s.desk.plan.Progress()
}
