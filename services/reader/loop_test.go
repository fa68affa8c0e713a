package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgscan"
	"segue/pkg/pgsource"
	"segue/pkg/table"
	"segue/pkg/wire"
)

var shape = &table.Table{
	OID: 1, Name: table.Name{Schema: "public", Table: "t"}, Key: []int{0}, Columns: []table.Column{{Name: "id"}, {Name: "a"}},
}

// tape is a writer that writes down what it is told.
type tape struct{ lines []string }

func (w *tape) Resumed() frontier.State     { return frontier.NewState() }
func (w *tape) Incarnation() int64          { return 7 }
func (w *tape) Room(int) int                { return 1 << 20 }
func (w *tape) Valid() <-chan kafka.Found   { return nil }
func (w *tape) Broken() <-chan struct{}     { return nil }
func (w *tape) Err() error                  { return nil }
func (w *tape) Close(context.Context) error { return nil }
func (w *tape) Append(_ context.Context, _ int, pos change.Position, key, value []byte) error {
	k := ""
	if len(key) > 5 {
		k = string(key[5:])
	}
	w.lines = append(w.lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", pos, value, k)))
	return nil
}

func (w *tape) Cut(_ context.Context, c frontier.Cut, must bool) error {
	line := fmt.Sprintf("cut %s confirm %d boundary %v must %v requests %d loaded %v", c.At, c.Confirm, c.Boundary, must, c.Requests, c.Loaded)
	for _, m := range c.Marks {
		line += fmt.Sprintf(" mark %s %s %s", m.Kind, m.ID, m.At)
	}
	for _, l := range c.Loads {
		line += fmt.Sprintf(" load %s %v", l.Leaf, l.Done)
	}
	w.lines = append(w.lines, line)
	return nil
}

// plain encodes as text: five bytes for the framing, then the key.
type plain struct{}

func (plain) AppendKey(dst []byte, r change.Row) ([]byte, error) {
	return append(append(dst, "....."...), r[0].Bytes()...), nil
}

func (plain) AppendValue(dst []byte, c *change.Change) ([]byte, error) {
	return append(dst, c.Op.String()...), nil
}

func (plain) Lane(key []byte, n int32) int32 { return wire.Partition(wire.Body(key), n) }

// film is a stream of given events, then io.EOF.
type film struct {
	events  []pgsource.Event
	ignored []uint32
}

func (f *film) Next(context.Context) (pgsource.Event, error) {
	if len(f.events) == 0 {
		return pgsource.Event{}, io.EOF
	}
	e := f.events[0]
	f.events = f.events[1:]
	return e, nil
}
func (f *film) Confirm(uint64)              {}
func (f *film) Ignore(oid uint32)           { f.ignored = append(f.ignored, oid) }
func (f *film) Follow(uint32, *table.Table) {}

func row(id, a string) change.Row { return change.Row{change.String(id), change.String(a)} }

func tx(lsn uint64, xid uint32, inside ...pgsource.Event) []pgsource.Event {
	out := []pgsource.Event{{Kind: pgsource.KindBegin, Begin: pgsource.Begin{FinalLSN: lsn, XID: xid}}}
	out = append(out, inside...)
	return append(out, pgsource.Event{Kind: pgsource.KindCommit, Commit: pgsource.Commit{CommitLSN: lsn, EndLSN: lsn + 5}})
}

func insert(id string) pgsource.Event {
	return pgsource.Event{Kind: pgsource.KindChange, Change: change.Change{Table: shape, Op: change.Insert, After: row(id, "x")}}
}

func move(from, to string) pgsource.Event {
	c := change.Change{Table: shape, Op: change.Update, Before: change.Row{change.String(from), change.Absent()}, After: row(to, "x")}
	return pgsource.Event{Kind: pgsource.KindChange, Change: c}
}

func message(m chunk.Mark) pgsource.Event {
	return pgsource.Event{Kind: pgsource.KindMessage, Message: &pgsource.Message{Transactional: true, Prefix: "p", Content: []byte(m.String())}}
}

func newLoop(resumed frontier.State, blocks uint32) (*loop, *tape) {
	w := &tape{}
	tables := []*table.Table{shape}
	plan := chunk.NewPlan([]chunk.Heap{{Table: shape, Leaf: shape.Name, Filenode: 1, Blocks: blocks}}, nil, chunk.BlockBytes)
	return &loop{
		writer: w, lanes: newLanes(w, tables, []Encoder{plain{}}, 1), desk: newDesk(tables, plan, 1<<20, &resumed),
		log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil), epoch: 1, resumed: resumed.At, prefix: "p",
		describe: func(context.Context, *pgsource.Relation) (*table.Table, error) { return shape, nil },
	}, w
}

func play(t *testing.T, l *loop, events ...[]pgsource.Event) {
	t.Helper()
	f := &film{}
	for _, e := range events {
		f.events = append(f.events, e...)
	}
	l.stream = f
	if err := l.run(t.Context()); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func golden(t *testing.T, w *tape, want string) {
	t.Helper()
	got := strings.Join(w.lines, "\n")
	want = strings.TrimSpace(strings.ReplaceAll(want, "\t", ""))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLoopGivesPositionsAndCuts(t *testing.T) {
	l, w := newLoop(frontier.State{At: change.Position{Epoch: 1, LSN: 100, Seq: 2}, Requests: 4}, 1)
	truncate := pgsource.Event{Kind: pgsource.KindTruncate, Truncate: &pgsource.Truncate{Tables: []*table.Table{shape}}}
	play(t, l,
		tx(100, 10, insert("lost")), // a frontier holds it already
		tx(200, 11, insert("one"), move("one", "two"), truncate),
		tx(300, 12), // nothing selected, right behind a cut: its place is not needed
		tx(400, 13, message(chunk.Mark{Kind: chunk.MarkLow, ID: "f", Writer: "reconciler:1"})),
		tx(500, 14, insert("three"), message(chunk.Mark{Kind: chunk.MarkHigh, ID: "g", Writer: "reconciler:1"}), insert("four")),
		tx(600, 15, message(heartbeatMark("7"))),
	)
	golden(t, w, `
	1:0/C8#1 insert one
	1:0/C8#2 update one
	1:0/C8#3 truncate
	cut 1:0/C8#3 confirm 205 boundary true must false requests 4 loaded false
	cut 1:0/190#0 confirm 405 boundary true must true requests 4 loaded false mark low f 1:0/190#0
	1:0/1F4#1 insert three
	1:0/1F4#2 insert four
	cut 1:0/1F4#2 confirm 505 boundary true must true requests 4 loaded false mark snapshot g 1:0/1F4#2
	cut 1:0/258#0 confirm 605 boundary true must false requests 4 loaded false`)
}

func TestLoopEmitsAChunkAtItsHighWatermark(t *testing.T) {
	l, w := newLoop(frontier.NewState(), 1)
	l.desk.wait(0)
	l.desk.saw(chunk.Snapshot{Xmin: 5, Xmax: 5})
	j, err := l.desk.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.desk.begin(j, "low", "high")
	own := func(kind, id string) pgsource.Event {
		return message(chunk.Mark{Kind: kind, ID: id, Writer: "reader:7"})
	}
	play(t, l, tx(100, 20, own(chunk.MarkLow, "low")), tx(200, 21, move("b", "c")))
	l.desk.found(j, pgscan.Result{Snapshot: chunk.Snapshot{Xmin: 21, Xmax: 21}, Rows: []change.Row{row("a", "1"), row("b", "2")}})
	play(t, l, tx(300, 22, own(chunk.MarkHigh, "high")))
	golden(t, w, `
	cut 1:0/64#0 confirm 105 boundary true must false requests 0 loaded false
	1:0/C8#1 update b
	cut 1:0/C8#1 confirm 205 boundary true must false requests 0 loaded false
	1:0/12C#1 read a
	1:0/12C#2 read c
	cut 1:0/12C#2 confirm 305 boundary true must false requests 0 loaded true load public.t [{0 1}]`)
	if v := <-j.done; v.again != "" || v.emitted != 2 {
		t.Errorf("%+v", v)
	}
}

func TestLoopVoidsAChunkThatMissesAnEarlierCommit(t *testing.T) {
	l, w := newLoop(frontier.NewState(), 1)
	l.desk.saw(chunk.Snapshot{Xmin: 5, Xmax: 5})
	j, _ := l.desk.take(t.Context())
	l.desk.begin(j, "low", "high")
	play(t, l, tx(100, 20, insert("a")), tx(200, 21, message(chunk.Mark{Kind: chunk.MarkLow, ID: "low", Writer: "reader:7"})))
	l.desk.found(j, pgscan.Result{Snapshot: chunk.Snapshot{Xmin: 20, Xmax: 22, Running: []uint64{20}}})
	before := len(w.lines)
	play(t, l, tx(300, 22, message(chunk.Mark{Kind: chunk.MarkHigh, ID: "high", Writer: "reader:7"})))
	if v := <-j.done; v.again != againInvisible || len(w.lines) != before+1 {
		t.Errorf("%+v, %q", v, w.lines[before:])
	}
	if l.desk.open.Load() != 0 || len(l.desk.marks) != 0 {
		t.Error("the void try is still known")
	}
}

func TestLoopCutsInsideLargeTransactions(t *testing.T) {
	l, w := newLoop(frontier.NewState(), 1)
	var inside []pgsource.Event
	for i := range 2*innerChanges + 1 {
		inside = append(inside, insert(fmt.Sprint(i)))
	}
	play(t, l, tx(100, 20, inside...))
	inner := 0
	for _, line := range w.lines {
		if strings.Contains(line, "boundary false") && strings.Contains(line, "confirm 0") {
			inner++
		}
	}
	if inner != 2 {
		t.Errorf("%d cuts inside", inner)
	}
}

func TestRequestsAreHandledInOrder(t *testing.T) {
	var a asked
	key := []change.Row{row("1", "")}
	a.enter(3, shape, key)
	a.enter(4, nil, nil)
	a.enter(5, shape, key)
	if a.handled != 0 {
		t.Errorf("handled %d while 3 waits", a.handled)
	}
	_, keys, offsets := a.next()
	if len(keys) != 2 || len(offsets) != 2 || a.keys != 0 {
		t.Errorf("%v %v", keys, offsets)
	}
	a.done([]int64{5})
	if a.handled != 0 {
		t.Errorf("handled %d while 3 waits", a.handled)
	}
	a.done([]int64{3})
	if a.handled != 6 {
		t.Errorf("handled %d", a.handled)
	}
}

func TestThrottleSpreadsReads(t *testing.T) {
	now := time.Unix(100, 0)
	th := newThrottle(100, 1000)
	th.now = func() time.Time { return now }
	if d := th.pay(50, 100); d != 500*time.Millisecond {
		t.Errorf("50 of 100 rows/s cost %s", d)
	}
	if d := th.pay(0, 2000); d != 2500*time.Millisecond {
		t.Errorf("the second pays behind the first: %s", d)
	}
	now = now.Add(time.Hour)
	if d := th.pay(1, 0); d != 10*time.Millisecond {
		t.Errorf("idle time is not saved up: %s", d)
	}
	if d := newThrottle(0, 0).pay(1<<40, 1<<40); d != 0 {
		t.Errorf("without a bound: %s", d)
	}
}

// TestASchemaChangeOfWhatCountsAlreadyStopsNothing: behind a pause the reader starts with the table's new shape, and the log still
// holds old rows that its frontiers count already. They are passed over, shape and all; a row of the old shape that does not
// count yet stops it, even if the log does not describe the relation again.
func TestASchemaChangeOfWhatCountsAlreadyStopsNothing(t *testing.T) {
	differs := pgsource.Event{Kind: pgsource.KindSchema, Schema: &pgsource.SchemaChange{Table: shape, Differences: []string{"column a is new"}}}
	agrees := pgsource.Event{Kind: pgsource.KindSchema, Schema: &pgsource.SchemaChange{Table: shape}}
	resumed := frontier.NewState()
	resumed.At = change.Position{Epoch: 1, LSN: 20, Seq: 1}
	for name, c := range map[string]struct {
		behind []pgsource.Event
		stops  bool
	}{
		"the new shape comes next": {tx(30, 3, agrees, insert("2")), false},
		"the old shape goes on":    {tx(30, 3, insert("2")), true},
		"other tables do not mind": {tx(30, 3), false},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := newLoop(resumed, 0)
			l.stream = &film{events: append(tx(20, 2, differs, insert("1")), c.behind...)}
			err := l.run(t.Context())
			if stopped := err != nil && strings.Contains(err.Error(), "column a is new"); stopped != c.stops {
				t.Errorf("stopped %v, want %v: %v", stopped, c.stops, err)
			}
		})
	}
}
