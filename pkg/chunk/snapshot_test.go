package chunk_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/chunk"
)

func TestSnapshotSees(t *testing.T) {
	const era = uint64(7) << 32
	for _, tc := range []struct {
		name string
		text string
		xid  uint32
		want bool
	}{
		{"below xmin", "100:110:105", 99, true},
		{"between, ended", "100:110:100,105", 104, true},
		{"between, running", "100:110:100,105", 105, false},
		{"xmax", "100:110:", 110, false},
		{"behind xmax", "100:110:", 500, false},
		{"an era later, low bits 104", "30064771172:30064771182:30064771177", 104, true}, // 7<<32 + 100 …
		{"an era later, running", "30064771172:30064771182:30064771177", 105, false},
		{"before the wrap, seen after it", "30064771077:30064771082:", 4294967290, true},
		{"behind the wrap, not begun before it", "30064771060:30064771070:", 5, false},
	} {
		s, err := chunk.ParseSnapshot(tc.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Sees(tc.xid); got != tc.want {
			t.Errorf("%s: %s sees %d: %v", tc.name, tc.text, tc.xid, got)
		}
		if s.String() != tc.text {
			t.Errorf("%s comes out as %s", tc.text, s)
		}
	}
	if s, _ := chunk.ParseSnapshot("30064771077:30064771082:"); !s.Passed(era-300) || s.Passed(s.Xmin) {
		t.Error("Passed compares wrongly")
	}
}

func TestSnapshotRefusesOtherText(t *testing.T) {
	for _, text := range []string{"", "1:2", "1:5:7", "1:5:0", "a:b:", "1:5:2,", "1:5:2:3"} {
		if _, err := chunk.ParseSnapshot(text); err == nil {
			t.Errorf("%q is taken for a snapshot", text)
		}
	}
}

// The 32-bit comparison agrees with the 64-bit one for every transaction less than 2^31 away.
func TestSeesModulo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xmin := rapid.Uint64Range(1<<32, 1<<40).Draw(t, "xmin")
		s := chunk.Snapshot{Xmin: xmin, Xmax: xmin + rapid.Uint64Range(0, 50).Draw(t, "width")}
		for x := s.Xmin; x < s.Xmax; x += rapid.Uint64Range(1, 9).Draw(t, "gap") {
			s.Running = append(s.Running, x)
		}
		x := uint64(int64(s.Xmax) + rapid.Int64Range(-1<<31+1, 1<<31-1).Draw(t, "away"))
		want := x < s.Xmin || x < s.Xmax && !slices.Contains(s.Running, x)
		if s.Sees(uint32(x)) != want {
			t.Fatalf("%s sees %d: want %v", s, x, want)
		}
	})
}

func TestVisibility(t *testing.T) {
	var v chunk.Visibility
	v.Delivered(10)
	v.Delivered(12)
	early := v.Unseen()
	old := chunk.Snapshot{Xmin: 10, Xmax: 13, Running: []uint64{10}}
	v.Saw(chunk.Snapshot{Xmin: 20, Xmax: 20})
	if v.Unseen().Len() != 0 {
		t.Error("a snapshot that sees all leaves something")
	}
	if early.SeenBy(old) {
		t.Error("a set handed out forgot what a newer snapshot sees")
	}
	v.Delivered(15)
	if v.Unseen().Len() != 0 {
		t.Error("what the newest snapshot sees is kept")
	}
}

func TestVisibilityIsBounded(t *testing.T) {
	var v chunk.Visibility
	last := uint32(1<<32 - 1000) // the newest is behind the wrap
	for range 1 << 20 {
		last++
		v.Delivered(last)
	}
	u := v.Unseen()
	if u.Len() > 1<<18 {
		t.Errorf("%d transactions kept one by one", u.Len())
	}
	end := uint64(1)<<32 + uint64(last) + 1
	if u.SeenBy(chunk.Snapshot{Xmin: end - 300000, Xmax: end + 5, Running: []uint64{end - 300000}}) {
		t.Error("a transaction below the horizon still runs, and the set counts as seen")
	}
	if !u.SeenBy(chunk.Snapshot{Xmin: end, Xmax: end + 5}) {
		t.Error("everything has ended, and the set counts as unseen")
	}
	v.Saw(chunk.Snapshot{Xmin: end, Xmax: end})
	if v.Unseen().Len() != 0 || !v.Unseen().SeenBy(chunk.Snapshot{Xmin: 1 << 32, Xmax: 1 << 32}) {
		t.Error("the horizon stays")
	}
}

func TestMark(t *testing.T) {
	for _, m := range []chunk.Mark{
		{Kind: chunk.MarkLow, ID: "7-1", Writer: "reader:7"},
		{Kind: chunk.MarkHigh, ID: "x", Writer: "reconciler:abc"},
		{Kind: chunk.MarkBeat, ID: "7-2", Writer: "reader:7"},
	} {
		got, err := chunk.ParseMark([]byte(m.String()))
		if err != nil || got != m {
			t.Errorf("%v comes back as %v, %v", m, got, err)
		}
		if m.Own() != (m.Writer == "reader:7") {
			t.Errorf("%v: own is %v", m, m.Own())
		}
	}
	for _, text := range []string{"", "1 low x", "2 low x y", "1 other x y", "1 low  y", "1 low x y z"} {
		if _, err := chunk.ParseMark([]byte(text)); err == nil {
			t.Errorf("%q is taken for a mark", text)
		}
	}
}

// A slot exports a snapshot whose xmin is above its xmax where transactions ended in between and none committed.
func TestSnapshotWhoseXminIsAboveItsXmax(t *testing.T) {
	s, err := chunk.ParseSnapshot("2477:2469:")
	if err != nil || !s.Sees(2468) || !s.Sees(2470) || s.Sees(2477) {
		t.Fatalf("%s, %v: it sees what ended below 2477 and nothing else", s, err)
	}
}
