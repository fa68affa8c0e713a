package chunk_test

import (
	"testing"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/table"
)

func keylessHeap(name string) chunk.Heap {
	n := table.Name{Schema: "public", Table: name}
	t := &table.Table{Name: n, Columns: []table.Column{{Name: "v"}}, Identity: table.IdentityFull}
	return chunk.Heap{Table: t, Leaf: n, Filenode: 5, Blocks: 900, Bytes: 900 * chunk.BlockBytes}
}

func TestTablesWithoutAKeyAreLoadedWholeAndOneByOne(t *testing.T) {
	heaps := []chunk.Heap{keylessHeap("a"), heapOf(0), keylessHeap("b")}
	p := chunk.NewPlan(heaps, nil, 4<<20)
	c, ok := p.Next()
	if !ok || c.Whole || c.Table != modelTable {
		t.Fatalf("%+v", c)
	}
	p.Finish(c)
	if c, ok := p.Next(); ok {
		t.Fatalf("a piece of a table without key: %+v", c)
	}
	a, ok := p.NextWhole()
	if !ok || !a.Whole || a.Table.Name.Table != "a" {
		t.Fatalf("%+v", a)
	}
	if b, ok := p.NextWhole(); ok {
		t.Fatalf("two at a time: %+v", b)
	}
	p.Again(a, true)
	if a, ok = p.NextWhole(); !ok || a.Table.Name.Table != "a" {
		t.Fatalf("it does not come back: %+v", a)
	}
	if load, ok := p.Finish(a); !ok || !load.Complete || load.Leaf.Table != "a" || len(load.Done) > 0 {
		t.Fatalf("%+v", load)
	}
	b, ok := p.NextWhole()
	if !ok || b.Table.Name.Table != "b" || p.Complete() {
		t.Fatalf("%+v", b)
	}
	// A life that ends here loads b, and only b; a rewrite of a does not matter.
	heaps[0].Filenode = 6
	p = chunk.NewPlan(heaps, p.Loads(), 4<<20)
	if b, ok = p.NextWhole(); !ok || b.Table.Name.Table != "b" {
		t.Fatalf("%+v", b)
	}
	p.Finish(b)
	if done := p.Progress()["public.a"]; !p.Complete() || !done.Complete || done.Done != done.Blocks {
		t.Fatalf("%+v", done)
	}
	p.Void(b.Table.Name)
	if b, ok = p.NextWhole(); !ok || b.Table.Name.Table != "b" || p.Complete() {
		t.Fatalf("a void load does not come back: %+v", b)
	}
}

// What was read in pieces, of a table that has lost its key since, is nothing that a load could go on behind.
func TestPiecesOfATableThatLostItsKeyAreVoid(t *testing.T) {
	h := keylessHeap("a")
	p := chunk.NewPlan([]chunk.Heap{h}, []frontier.Load{{Table: h.Table.Name, Leaf: h.Leaf, Filenode: 5, Blocks: 900, Done: []frontier.Range{{From: 0, To: 900}}}}, 4<<20)
	if _, ok := p.NextWhole(); !ok {
		t.Error("half a load counts")
	}
}

func TestSnapshotIncludes(t *testing.T) {
	for _, tt := range []struct {
		s, o string
		want bool
	}{
		{"10:10:", "10:10:", true},
		{"12:12:", "10:10:", true},
		{"10:12:10", "10:12:10", true},
		{"10:12:10", "11:12:", false}, // 10 is over there, and runs here
		{"10:10:", "10:12:10", false}, // 11 is over there, and not known here
		{"10:10:", "10:12:10,11", true},
		{"9:14:9,13", "9:12:9", true},
		{"9:14:11,13", "9:12:9", false},
	} {
		s, err1 := chunk.ParseSnapshot(tt.s)
		o, err2 := chunk.ParseSnapshot(tt.o)
		if err1 != nil || err2 != nil || s.Includes(o) != tt.want {
			t.Errorf("%s includes %s: %v, want %v", tt.s, tt.o, s.Includes(o), tt.want)
		}
	}
}

func TestSpan(t *testing.T) {
	tbl := keylessHeap("a").Table
	insert := func(lsn uint64, v string) *change.Change {
		return &change.Change{Table: tbl, Op: change.Insert, Pos: change.Position{LSN: lsn}, After: change.Row{change.String(v)}}
	}
	s := chunk.NewSpan(3*insert(1, "xx").After.Size() + 3*200)
	for i := range uint64(10) {
		s.Add(insert(100+10*(i/2), "v"+string(rune('0'+i))))
	}
	// What is left out is a beginning, at whole transactions.
	got, ok := s.From(140)
	if !ok || len(got) != 2 || string(got[0].After[0].Bytes()) != "v8" {
		t.Errorf("%v %v", got, ok)
	}
	if _, ok := s.From(110); ok {
		t.Error("a span tells of what it has left out")
	}
	if got, ok := s.From(141); !ok || len(got) != 0 {
		t.Errorf("%v %v", got, ok)
	}
}
