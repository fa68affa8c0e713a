package reconcile

import (
	"testing"

	"segue/pkg/change"
	"segue/pkg/chunk"
)

func at(lsn uint64) change.Position { return change.Position{Epoch: 1, LSN: lsn} }

// answer reads what a side holds, by key.
func answer(t Task, rows map[int]int) *Side {
	s := NewSide(t)
	for key, value := range rows {
		s.Add(&t, keyText(key), rowHash(key, value))
	}
	return s
}

func TestP7_EmptyTablesPass(t *testing.T) {
	u := NewUnit(0)
	if r := u.Result(); r.Verdict != Unknown || r.Coverage != 0 {
		t.Fatalf("before it was compared: %+v", r)
	}
	task, _ := u.Next()
	u.Absorb(task, NewSide(task), NewSide(task), View{}, at(7))
	if r := u.Result(); r.Verdict != Pass || r.Coverage != 100 || r.From != at(7) || r.To != at(7) {
		t.Fatalf("empty tables: %+v", r)
	}
}

func TestP7_TouchedAsAWholeProvesNothing(t *testing.T) {
	u := NewUnit(10)
	task, _ := u.Next()
	u.Absorb(task, answer(task, map[int]int{1: 1}), answer(task, map[int]int{1: 2}), View{All: true}, at(7))
	if r := u.Result(); r.Verdict != Unknown || r.Reason == "" || r.Drift.Rows() != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestP7_ADifferenceIsNarrowedToItsKey(t *testing.T) {
	source := map[int]int{1: 1, 2: 2, 3: 3, 4: 4}
	target := map[int]int{1: 1, 2: 9, 4: 4, 5: 5}
	u := NewUnit(4)
	for h := uint64(1); !u.Done(); h++ {
		if h > 3 {
			t.Fatalf("no end: %+v", u.Result())
		}
		task, _ := u.Next()
		u.Absorb(task, answer(task, source), answer(task, target), View{}, at(h))
	}
	r := u.Result()
	if r.Verdict != Differ || r.Drift.Missing != 1 || r.Drift.Extra != 1 || r.Drift.Different != 1 || r.Coverage != 100 || r.Compared != 4 {
		t.Fatalf("%+v", r)
	}
	kinds := map[string]Kind{}
	for _, f := range r.Drift.Examples {
		kinds[f.Key] = f.Kind
	}
	if kinds["1:2;"] != Different || kinds["1:3;"] != Missing || kinds["1:5;"] != Extra {
		t.Fatalf("examples %v", kinds)
	}
}

func TestTwoSourceRowsForOneTargetRowDiffer(t *testing.T) {
	u := NewUnit(2)
	for !u.Done() {
		task, _ := u.Next()
		source := answer(task, map[int]int{1: 1})
		source.Add(&task, keyText(1), rowHash(1, 2))
		u.Absorb(task, source, answer(task, map[int]int{1: 1}), View{}, at(1))
	}
	if r := u.Result(); r.Verdict != Differ || r.Drift.Doubled != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestAKeyThatIsAlwaysTouchedIsLookedUpAlone(t *testing.T) {
	rows := map[int]int{}
	for i := range 1000 {
		rows[i] = i
	}
	touched := NewTouched(10)
	touched.Add(0, keyText(7), SourceKey{Text: "1:7;"}, 100)
	u := NewUnit(1000)
	for range 2 {
		task, _ := u.Next()
		u.Absorb(task, answer(task, rows), answer(task, rows), touched.View(0), at(1))
	}
	task, _ := u.Next()
	if task.Mode != Keys || len(task.Wanted) != 1 || len(task.Wanted["1:7;"].Sources) != 1 {
		t.Fatalf("next %s of %v", task.Mode, task.Wanted)
	}
	if r := u.Result(); r.Verdict != Unknown || r.Left != 1 || r.Coverage >= 100 {
		t.Fatalf("%+v", r)
	}
	u.Absorb(task, answer(task, rows), answer(task, rows), touched.View(0), at(2))
	if u.Done() {
		t.Fatal("done with a touched key")
	}
	touched.Prune(chunk.Snapshot{Xmin: 101, Xmax: 101})
	u.Absorb(task, answer(task, rows), answer(task, rows), touched.View(0), at(3))
	if r := u.Result(); r.Verdict != Pass || r.Compared != 1000 || r.From != at(1) || r.To != at(3) {
		t.Fatalf("%+v", r)
	}
}

func TestOverall(t *testing.T) {
	for _, c := range []struct {
		of   []Verdict
		want Verdict
	}{
		{nil, Unknown},
		{[]Verdict{Pass, Pass}, Pass},
		{[]Verdict{Pass, Unknown}, Unknown},
		{[]Verdict{Unknown, Differ, Pass}, Differ},
	} {
		if got := Overall(c.of); got != c.want {
			t.Errorf("%v: %s, want %s", c.of, got, c.want)
		}
	}
}

func TestTouchedIsBounded(t *testing.T) {
	touched := NewTouched(2)
	for i := range uint32(100) {
		touched.Add(0, keyText(int(i)), SourceKey{}, 10+i)
	}
	if v := touched.View(0); !v.All || len(v.keys) != 2 {
		t.Fatalf("all %v, %d keys", v.All, len(v.keys))
	}
	// A snapshot that sees all but the latest one keeps what may stand for others.
	touched.Prune(chunk.Snapshot{Xmin: 109, Xmax: 110, Running: []uint64{109}})
	if v := touched.View(0); !v.All || len(v.keys) != 0 {
		t.Fatalf("all %v, %d keys", v.All, len(v.keys))
	}
	touched.Prune(chunk.Snapshot{Xmin: 110, Xmax: 110})
	if v := touched.View(0); v.All {
		t.Fatal("still touched")
	}
}
