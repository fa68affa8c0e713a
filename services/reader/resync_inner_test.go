package reader

import (
	"log/slog"
	"testing"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/request"
	"segue/pkg/table"
)

// Rows of a table without a key cannot be read again by a predicate: they would be there twice. The request stops nobody.
func TestRowsWithoutAKeyAreNotReadAgain(t *testing.T) {
	bare := &table.Table{OID: 2, Name: table.Name{Schema: "public", Table: "bare"}, Columns: []table.Column{{Name: "a"}}}
	resumed := frontier.NewState()
	s := &session{desk: newDesk([]*table.Table{bare}, chunk.NewPlan(nil, nil, 1), 1<<20, &resumed), log: slog.New(slog.DiscardHandler)}
	for i, r := range []request.Request{{Kind: request.Resync, Where: "a = 1", Table: bare.Name}} {
		if err := s.take(t.Context(), int64(i), &r); err != nil {
			t.Fatal(err)
		}
	}
	if loads := s.desk.place(); len(loads) > 0 || s.desk.asked.handled != 1 || s.desk.next() != nil {
		t.Errorf("loads %v, %d handled", loads, s.desk.asked.handled)
	}
}

// A whole table gets its place only when every request before it is handled, so that a crash begins it once.
func TestAResyncWaitsForItsTurn(t *testing.T) {
	resumed := frontier.NewState()
	h := chunk.Heap{Table: shape, Leaf: shape.Name, Filenode: 1, Blocks: 3}
	load := frontier.Load{Table: shape.Name, Leaf: shape.Name, Filenode: 1, Blocks: 3, Done: []frontier.Range{{To: 3}}, Complete: true}
	d := newDesk([]*table.Table{shape}, chunk.NewPlan([]chunk.Heap{h}, []frontier.Load{load}, 1), 1<<20, &resumed)
	d.ready = true
	d.asked.enter(0, shape, []change.Row{row("1", "")})
	d.again(&resync{offset: 1, table: shape, heaps: []chunk.Heap{h}})
	if loads := d.place(); len(loads) > 0 {
		t.Fatalf("placed before its turn: %v", loads)
	}
	_, _, requests := d.asked.next()
	d.asked.done(requests)
	loads := d.place()
	if len(loads) != 1 || loads[0].Complete || len(loads[0].Done) > 0 || d.asked.handled != 2 {
		t.Fatalf("%v, %d handled", loads, d.asked.handled)
	}
	if again := d.place(); len(again) > 0 {
		t.Errorf("placed twice: %v", again)
	}
}

// A partitioned table that has no partitions yet never has a load: while another table is read again behind a restart, it makes nothing
// of what was loaded once, and no foreign key is taken off.
func TestATableWithoutPartitionsCountsAsLoaded(t *testing.T) {
	empty := &table.Table{OID: 3, Name: table.Name{Schema: "public", Table: "parts"}, Columns: shape.Columns, Key: shape.Key, Partitioned: true}
	h := chunk.Heap{Table: shape, Leaf: shape.Name, Filenode: 1, Blocks: 3}
	resumed := frontier.NewState()
	resumed.Loaded = true
	resumed.Loads[shape.Name] = frontier.Load{Table: shape.Name, Leaf: shape.Name, Filenode: 1, Blocks: 3}
	tables := []*table.Table{shape, empty}
	if _, loaded := newDesk(tables, chunk.NewPlan([]chunk.Heap{h}, nil, 1), 1<<20, &resumed).state(); !loaded {
		t.Error("every table was loaded once")
	}
	added := chunk.Heap{Table: empty, Leaf: empty.Name, Filenode: 2, Blocks: 1}
	if _, loaded := newDesk(tables, chunk.NewPlan([]chunk.Heap{h, added}, nil, 1), 1<<20, &resumed).state(); loaded {
		t.Error("a table of which nothing was read is loaded")
	}
}
