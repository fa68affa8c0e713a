package reader

import (
	"log/slog"
	"testing"

	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/table"
)

// The mark of a load that its worker gave up, because the answer to it was lost or the reader is being stopped, means nothing when it comes.
func TestAWholeLoadThatWasGivenUpBeforeItsMarkCame(t *testing.T) {
	bare := &table.Table{OID: 2, Name: table.Name{Schema: "public", Table: "bare"}, Columns: []table.Column{{Name: "a"}}, Identity: table.IdentityFull}
	resumed := frontier.NewState()
	d := newDesk([]*table.Table{bare}, chunk.NewPlan([]chunk.Heap{{Table: bare, Leaf: bare.Name, Filenode: 1}}, nil, 1), 1<<20, &resumed)
	j := &job{table: bare}
	d.collect(j)
	d.await(j, pointed{at: 7}, "high")
	if !d.abandon(j) {
		t.Fatal("nobody has met the mark yet")
	}
	if got, _, _ := d.wholeAt("high"); got != nil {
		t.Errorf("a load that was given up is taken: %+v", got)
	}
	l := &loop{desk: d, log: slog.New(slog.DiscardHandler)}
	var p passing
	if err := l.high(t.Context(), "high", &p); err != nil || len(p.loads)+len(p.tell) > 0 {
		t.Errorf("%v, %+v", err, p)
	}
	d.await(j, pointed{at: 7}, "again")
	if got, _, ok := d.wholeAt("again"); got != j || !ok {
		t.Errorf("the next try is not taken: %+v, %v", got, ok)
	}
	if d.abandon(j) {
		t.Error("it is the loop's now")
	}
}

// pointed is a Whole of which only the point counts.
type pointed struct {
	Whole
	at uint64
}

func (p pointed) Point() uint64 { return p.at }
