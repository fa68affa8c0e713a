package service

import (
	"sync"
	"time"
)

// Status is where a component says how it is. It is safe for several goroutines.
type Status struct {
	mu    sync.Mutex
	state State
	now   func() time.Time
}

// Ready says that the component does its work.
func (s *Status) Ready() {
	s.change(func(st *State) bool {
		changed := st.Phase != Ready
		st.Phase, st.Waiting, st.Attempt, st.Hint = Ready, "", 0, ""
		return changed
	})
}

// Wait says that the component runs, but waits for something: "for the slot shop, which another process holds".
func (s *Status) Wait(forWhat string) {
	s.change(func(st *State) bool {
		changed := st.Phase != Starting || st.Waiting != forWhat
		st.Phase, st.Waiting = Starting, forWhat
		return changed
	})
}

// Standby says that another process of the service works, and that this one takes over when that one ends.
func (s *Status) Standby(owner string) {
	s.change(func(st *State) bool {
		changed := st.Phase != Standby
		st.Phase, st.Waiting, st.Attempt, st.Hint = Standby, owner+" is working", 0, ""
		return changed
	})
}

// State returns what is known now.
func (s *Status) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *Status) change(f func(*State) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f(&s.state) {
		s.state.Since = s.now()
	}
}

// begin notes that the component starts, for the first time or again; it keeps what the last attempt failed for.
func (s *Status) begin() {
	s.change(func(st *State) bool {
		if st.Phase == Waiting {
			return false // still waiting for the same, as seen from outside, until it says Ready
		}
		st.Phase = Starting
		return true
	})
}

// failed notes a transient failure and returns how many there were in a row.
func (s *Status) failed(why, hint string) int {
	attempt := 0
	s.change(func(st *State) bool {
		fresh := st.Phase != Waiting
		st.Phase, st.Waiting, st.Hint = Waiting, why, hint
		st.Attempt++
		attempt = st.Attempt
		return fresh
	})
	return attempt
}

func (s *Status) end(phase Phase, why, hint string) {
	s.change(func(st *State) bool {
		st.Phase, st.Waiting, st.Hint = phase, why, hint
		return true
	})
}
