package applier

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/table"
)

// course is a random history of source transactions as the applier gets them: rows that a load read, then inserts, whole and partial updates,
// key changes and deletes, some transactions in slices. A model follows it. Every change has a number of its own, which the target's triggers note
// down, so that a row that is doubled or out of order is seen even where a later change covers it.
type course struct {
	rnd    *rand.Rand
	p, c   map[int]change.Row // the model
	number int                // of the last change
	lsn    uint64
	loaded bool

	mu     sync.Mutex
	more   chan struct{} // closed when events are added
	events []frontier.Event[change.Mapped]
}

const courseDDL = `
CREATE TABLE p (id int PRIMARY KEY, name text, note text, v bigint NOT NULL);
CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, note text, v bigint NOT NULL);
CREATE TABLE seen (place bigserial, tab text, id int, v bigint, tx bigint DEFAULT txid_current(), isolation text DEFAULT current_setting('transaction_isolation'));
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen (tab, id, v) VALUES (TG_TABLE_NAME, NEW.id, NEW.v); RETURN NULL; END $$;
CREATE TRIGGER see AFTER INSERT OR UPDATE ON p FOR EACH ROW EXECUTE FUNCTION see();
CREATE TRIGGER see AFTER INSERT OR UPDATE ON c FOR EACH ROW EXECUTE FUNCTION see()`

func newCourse(seed uint64) *course {
	return &course{rnd: rand.New(rand.NewPCG(seed, 5)), p: map[int]change.Row{}, c: map[int]change.Row{}, lsn: 0x100, more: make(chan struct{})}
}

func text(values ...any) change.Row {
	var out change.Row
	for _, v := range values {
		out = append(out, change.String(fmt.Sprint(v)))
	}
	return out
}

// op makes one change, in the model and for the target: of p (0) or c (1).
func (c *course) op(kind change.Op, target int, key, row change.Row) change.Mapped {
	m := change.Mapped{SourceOp: kind, Source: table.Name{Schema: "legacy", Table: []string{"p", "c"}[target]}}
	m.Ops = []change.RowOp{{Target: target, Op: kind, Key: key, Row: row}}
	m.SourceKey = key
	if row != nil {
		m.SourceKey = row[:1]
	}
	model := []map[int]change.Row{c.p, c.c}[target]
	number := func(k change.Row) int {
		var n int
		_, _ = fmt.Sscan(string(k[0].Bytes()), &n)
		return n
	}
	before := change.Row(nil)
	if key != nil {
		before = model[number(key)]
		delete(model, number(key))
	} else if row != nil {
		before = model[number(row)]
	}
	if row != nil {
		whole := slices.Clone(row)
		for i, v := range whole {
			if v.IsAbsent() {
				whole[i] = before[i]
			}
		}
		model[number(row)] = whole
	}
	return m
}

// row is a row of a table with the next number.
func (c *course) row(target, id int) change.Row {
	c.number++
	if target == 1 {
		parents := slices.Sorted(maps.Keys(c.p))
		return text(id, parents[c.rnd.IntN(len(parents))], fmt.Sprint("note", c.number%7), c.number)
	}
	return text(id, fmt.Sprint("n", c.number), fmt.Sprint("note", c.number%7), c.number)
}

func (c *course) pick(m map[int]change.Row) int {
	keys := slices.Sorted(maps.Keys(m))
	return keys[c.rnd.IntN(len(keys))]
}

// free is an id that no row has.
func (c *course) free(m map[int]change.Row) int {
	for {
		if id := 1 + c.rnd.IntN(200); m[id] == nil {
			return id
		}
	}
}

// step draws a change, nil where the drawn one cannot be.
func (c *course) step() []change.Mapped {
	target := c.rnd.IntN(2)
	model := []map[int]change.Row{c.p, c.c}[target]
	if len(c.p) == 0 || len(model) == 0 {
		return []change.Mapped{c.op(change.Insert, 0, nil, c.row(0, c.free(c.p)))}
	}
	id := c.pick(model)
	switch c.rnd.IntN(6) {
	case 0:
		return []change.Mapped{c.op(change.Insert, target, nil, c.row(target, c.free(model)))}
	case 1:
		return []change.Mapped{c.op(change.Update, target, nil, c.row(target, id))}
	case 2, 3: // a value stored out of line stays where it is
		row := c.row(target, id)
		row[2] = change.Absent()
		return []change.Mapped{c.op(change.Update, target, nil, row)}
	case 4:
		if target == 0 && c.referred(id) {
			return nil
		}
		row := c.row(target, c.free(model))
		if c.rnd.IntN(2) == 0 {
			row[2] = change.Absent()
		}
		return []change.Mapped{c.op(change.Update, target, text(id), row)}
	default:
		if target == 0 && c.referred(id) {
			return nil
		}
		return []change.Mapped{c.op(change.Delete, target, text(id), nil)}
	}
}

func (c *course) referred(id int) bool {
	for _, child := range c.c {
		if string(child[1].Bytes()) == fmt.Sprint(id) {
			return true
		}
	}
	return false
}

// load adds rows as a chunk has read them; the load is complete behind them.
func (c *course) load(n int) {
	var changes []change.Mapped
	for range n {
		changes = append(changes, c.op(change.Read, 0, nil, c.row(0, c.free(c.p))))
	}
	for range n {
		changes = append(changes, c.op(change.Read, 1, nil, c.row(1, c.free(c.c))))
	}
	c.transaction(changes, false)
	c.loaded = true
	c.transaction(nil, false)
}

// run adds transactions.
func (c *course) run(transactions int) {
	for range transactions {
		var changes []change.Mapped
		for range 1 + c.rnd.IntN(6) {
			changes = append(changes, c.step()...)
		}
		c.transaction(changes, c.rnd.IntN(3) == 0)
	}
}

// transaction adds the frontiers of one source transaction, two where it is in slices.
func (c *course) transaction(changes []change.Mapped, sliced bool) {
	c.lsn += 0x10
	for i := range changes {
		changes[i].Pos = change.Position{LSN: c.lsn, Seq: uint64(i) + 1}
	}
	if half := len(changes) / 2; sliced && half > 0 {
		c.frontier(change.Position{LSN: c.lsn, Seq: uint64(half)}, false, changes[:half])
		changes = changes[half:]
	}
	c.frontier(change.Position{LSN: c.lsn, Seq: 1 << 20}, true, changes)
}

func (c *course) frontier(at change.Position, boundary bool, changes []change.Mapped) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &frontier.Frontier{At: at, Boundary: boundary, Loaded: c.loaded, Committed: 1_700_000_000_000_000, Incarnation: 7}
	c.events = append(c.events, frontier.Event[change.Mapped]{Batch: &frontier.Batch[change.Mapped]{Offset: int64(len(c.events)), Frontier: f, Changes: changes}})
	close(c.more)
	c.more = make(chan struct{})
}

// end is the position of the last frontier, and total all changes.
func (c *course) end() (at change.Position, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		total += len(e.Batch.Changes)
		at = e.Batch.Frontier.At
	}
	return at, total
}

// reading is the course opened at a cursor, as Kafka's reader opens a topic.
type reading struct {
	course *course
	next   int
}

func (c *course) open(t *testing.T, from frontier.Cursor) *reading {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if from.Offset >= int64(len(c.events)) || (from.Offset >= 0 && c.events[from.Offset].Batch.Frontier.At != from.At) {
		t.Errorf("the cursor %d at %s is none of the source's", from.Offset, from.At)
	}
	return &reading{course: c, next: int(from.Offset + 1)}
}

// Next implements frontier.Source.
func (r *reading) Next(ctx context.Context) (frontier.Event[change.Mapped], error) {
	for {
		r.course.mu.Lock()
		more := r.course.more
		if r.next < len(r.course.events) {
			e := r.course.events[r.next]
			r.course.mu.Unlock()
			r.next++
			return e, nil
		}
		r.course.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return frontier.Event[change.Mapped]{}, ctx.Err()
		}
	}
}

// Ready implements frontier.Source.
func (r *reading) Ready() bool {
	r.course.mu.Lock()
	defer r.course.mu.Unlock()
	return r.next < len(r.course.events)
}

// dump is a table of the model, a line a row.
func (c *course) dump(target int) string {
	model := []map[int]change.Row{c.p, c.c}[target]
	var out []string
	for _, id := range slices.Sorted(maps.Keys(model)) {
		var parts []string
		for _, v := range model[id] {
			parts = append(parts, string(v.Bytes()))
		}
		out = append(out, strings.Join(parts, ","))
	}
	return strings.Join(out, " ")
}
