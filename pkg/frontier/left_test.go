package frontier

import (
	"slices"
	"testing"

	"segue/pkg/change"
	"segue/pkg/table"
)

// A writer that no longer takes a table goes on to list its lanes as they stood, and a consumer without the table passes over what is still
// there of it, where and only where the table was left.
func TestLanesOfATableThatWent(t *testing.T) {
	a, b := Lane{Table: "public.a"}, Lane{Table: "public.b"}
	name := table.Name{Schema: "public", Table: "b"}
	at := func(lsn uint64) change.Position { return change.Position{Epoch: 1, LSN: lsn} }

	state := NewState()
	state.Lanes[a], state.Lanes[b] = LaneEnd{Lane: a, End: 4, Total: 3}, LaneEnd{Lane: b, End: 9, Total: 7}
	state.Loads[name] = Load{Table: name, Leaf: name, Filenode: 5, Complete: true}
	if state.Left("public.b") {
		t.Error("a loaded table counts as left")
	}
	l := NewLedger(3, []Lane{a}, &state)
	l.Cut(Cut{At: at(5), Boundary: true, Loads: []Load{{Table: name, Leaf: name}}}, l.Next(), true)
	f, err := l.Due()
	if err != nil || !slices.Equal(f.Lanes, []LaneEnd{{Lane: a, End: 4, Total: 3}, {Lane: b, End: 9, Total: 7}}) {
		t.Fatalf("%+v, %v", f, err)
	}
	state.take(1, f)
	if !state.Left("public.b") || state.Left("public.a") || state.Left("public.c") {
		t.Error("who is left is not told")
	}

	// Behind the claim of offset 0, one frontier with a change of each table.
	feed := func(leave bool) ([]Message, error) {
		m := NewMerger(NewLog(), []Lane{a})
		if leave {
			m.Leave("public.b")
		}
		m.Frontier(Record{Offset: 0, Claim: &Claim{}})
		m.Frontier(Record{Offset: 1, Frontier: &Frontier{Incarnation: 0, At: at(2), Full: true, Boundary: true,
			Lanes: []LaneEnd{{Lane: a, End: 1, Count: 1, Total: 1}, {Lane: b, End: 1, Count: 1, Total: 1}}}})
		m.Lane(0, Message{Offset: 0, Incarnation: 0, Pos: at(1)})
		if _, _, err := m.Next(); err != nil {
			return nil, err
		}
		e, _, err := m.Next()
		if err != nil {
			return nil, err
		}
		return e.Batch.Changes, nil
	}
	if changes, err := feed(true); err != nil || len(changes) != 1 || changes[0].Pos != at(1) {
		t.Errorf("left: %v, %v", changes, err)
	}
	if changes, err := feed(false); err == nil {
		t.Errorf("a table that was not left is lost in silence: %v", changes)
	}
}
