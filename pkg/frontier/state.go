package frontier

import (
	"maps"
	"slices"

	"segue/pkg/change"
	"segue/pkg/table"
)

// State is where a frontier topic stands at one of its valid frontiers: what a writer resumes at and a consumer starts from.
type State struct {
	Offset      int64 // of the frontier's record; -1: there is none yet
	Incarnation int64
	At          change.Position
	Confirm     uint64
	Requests    int64
	Loaded      bool
	Committed   int64
	Source      string
	Lanes       map[Lane]LaneEnd
	Loads       map[table.Name]Load // by leaf
}

// NewState is the state before the first frontier.
func NewState() State {
	return State{Offset: -1, Incarnation: -1, Lanes: map[Lane]LaneEnd{}, Loads: map[table.Name]Load{}}
}

// Cursor names the state's frontier.
func (s *State) Cursor() Cursor {
	return Cursor{Offset: s.Offset, Incarnation: s.Incarnation, At: s.At}
}

// Clone returns a copy that shares nothing that either side changes.
func (s *State) Clone() State {
	c := *s
	c.Lanes = maps.Clone(s.Lanes)
	c.Loads = maps.Clone(s.Loads)
	return c
}

// take moves the state on to a valid frontier.
func (s *State) take(offset int64, f *Frontier) {
	s.Offset, s.Incarnation, s.At = offset, f.Incarnation, f.At
	s.Confirm, s.Requests, s.Loaded, s.Committed = f.Confirm, f.Requests, f.Loaded, f.Committed
	if f.Source != "" {
		s.Source = f.Source
	}
	for _, e := range f.Lanes {
		s.Lanes[e.Lane] = LaneEnd{Lane: e.Lane, End: e.End, Total: e.Total}
	}
	for _, load := range f.Loads {
		s.Loads[load.Leaf] = load
	}
}

// Left says whether the table, as lanes name it, was taken out of the migration: nothing of it counts as loaded any more.
func (s *State) Left(topic string) bool {
	void := false
	for _, l := range s.Loads {
		if l.Table.Topic() != topic {
			continue
		}
		if !l.Void() {
			return false
		}
		void = true
	}
	return void
}

// LaneList returns the lanes in a fixed order.
func (s *State) LaneList() []Lane {
	return slices.SortedFunc(maps.Keys(s.Lanes), Lane.compare)
}

// Then is the cut that stands for c and the later next together: what c would have told is not lost when it is never made.
func (c Cut) Then(next Cut) Cut {
	next.Loads = append(c.Loads[:len(c.Loads):len(c.Loads)], next.Loads...)
	next.Marks = append(c.Marks[:len(c.Marks):len(c.Marks)], next.Marks...)
	return next
}
