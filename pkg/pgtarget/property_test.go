package pgtarget

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/pgtest"
)

// The set-wise form must mean exactly what the serial form means. Random histories with everything that can go wrong
// inside one transaction go through both, and through batches of every size, on the real server; a model in memory says what the
// tables must hold.

const historyDDL = `
CREATE SCHEMA %[1]s;
CREATE TABLE %[1]s.a (id int PRIMARY KEY, u text UNIQUE, note text, boss int REFERENCES %[1]s.a DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE %[1]s.b (k1 int, k2 text, a int REFERENCES %[1]s.a DEFERRABLE INITIALLY DEFERRED, note text, extra int DEFAULT 1, PRIMARY KEY (k1, k2));`

type aRow struct {
	u, note string
	boss    int // 0: none
}

type bKey struct {
	k1 int
	k2 string
}

type bRow struct {
	a    int // 0: none
	note string
}

// history is the model: the tables as the source has them, and the changes that led there.
type history struct {
	t       *rapid.T
	a       map[int]aRow
	b       map[bKey]bRow
	unique  int // for values of a.u
	pos     change.Position
	changes []change.Mapped
}

func (h *history) emit(op change.RowOp, sourceOp change.Op) {
	h.pos.Seq++
	h.changes = append(h.changes, change.Mapped{Pos: h.pos, SourceOp: sourceOp, Ops: []change.RowOp{op}})
}

func number(n int) change.Value {
	if n == 0 {
		return change.Null()
	}
	return change.String(fmt.Sprint(n))
}

func (h *history) aValues(id int) change.Row {
	r := h.a[id]
	return change.Row{change.String(fmt.Sprint(id)), change.String(r.u), change.String(r.note), number(r.boss)}
}

func (h *history) bValues(k bKey) change.Row {
	r := h.b[k]
	return change.Row{change.String(fmt.Sprint(k.k1)), change.String(k.k2), number(r.a), change.String(r.note)}
}

func (h *history) draw(name string, below int) int { return rapid.IntRange(0, below-1).Draw(h.t, name) }

// pick draws one of the ids, -1 where there is none.
func pick[K comparable](h *history, name string, m map[K]aRow) (k K, ok bool) {
	if len(m) == 0 {
		return k, false
	}
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y K) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	return keys[h.draw(name, len(keys))], true
}

func (h *history) insertA(id int) {
	if _, ok := h.a[id]; ok {
		return
	}
	h.unique++
	h.a[id] = aRow{u: fmt.Sprint("u", h.unique), note: "new"}
	op := change.Insert
	if h.draw("read", 3) == 0 {
		op = change.Read
	}
	h.emit(change.RowOp{Op: op, Row: h.aValues(id)}, op)
}

// updateA emits an update of row id; partly leaves the note out, which then has not changed.
func (h *history) updateA(id int, r aRow) {
	partly := h.a[id].note == r.note && h.draw("partly", 2) == 0
	h.a[id] = r
	values := h.aValues(id)
	if partly {
		values[2] = change.Absent()
	}
	h.emit(change.RowOp{Op: change.Update, Row: values}, change.Update)
}

func (h *history) deleteA(id int) {
	for child, r := range h.a {
		if r.boss == id && child != id {
			return
		}
	}
	for _, r := range h.b {
		if r.a == id {
			return
		}
	}
	if _, ok := h.a[id]; !ok {
		return
	}
	delete(h.a, id)
	h.emit(change.RowOp{Op: change.Delete, Key: change.Row{change.String(fmt.Sprint(id))}}, change.Delete)
}

// moveA gives a row another id, and those that refer to it follow, behind it.
func (h *history) moveA(from, to int) {
	r, ok := h.a[from]
	if _, taken := h.a[to]; !ok || taken || from == to {
		return
	}
	if r.boss == from {
		r.boss = to
	}
	delete(h.a, from)
	h.a[to] = r
	values := h.aValues(to)
	if h.draw("partly", 2) == 0 {
		values[2] = change.Absent()
	}
	h.emit(change.RowOp{Op: change.Update, Key: change.Row{change.String(fmt.Sprint(from))}, Row: values}, change.Update)
	for _, id := range sortedKeys(h.a) {
		if c := h.a[id]; c.boss == from {
			c.boss = to
			h.updateA(id, c)
		}
	}
	for _, k := range sortedB(h.b) {
		if c := h.b[k]; c.a == from {
			c.a = to
			h.b[k] = c
			h.emit(change.RowOp{Target: 1, Op: change.Update, Row: h.bValues(k)}, change.Update)
		}
	}
}

func sortedKeys(m map[int]aRow) []int {
	var out []int
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedB(m map[bKey]bRow) []bKey {
	var out []bKey
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(x, y bKey) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	return out
}

// step draws one thing that a statement of the source may do.
func (h *history) step() {
	id := 1 + h.draw("id", 8)
	switch h.draw("step", 11) {
	case 0, 1:
		h.insertA(id)
	case 2:
		if r, ok := h.a[id]; ok {
			r.note = fmt.Sprint("n", h.draw("note", 4))
			h.updateA(id, r)
		}
	case 3:
		h.deleteA(id)
	case 4:
		h.moveA(id, 1+h.draw("to", 8))
	case 5: // two rows trade their unique values
		other := 1 + h.draw("other", 8)
		x, ok1 := h.a[id]
		y, ok2 := h.a[other]
		if ok1 && ok2 && id != other {
			xu, yu := x.u, y.u
			x.u = "tmp"
			h.updateA(id, x)
			y.u = xu
			h.updateA(other, y)
			x.u = yu
			h.updateA(id, x)
		}
	case 6: // a unique value goes from a row that is deleted to a new one
		if x, ok := h.a[id]; ok {
			h.deleteA(id)
			if _, still := h.a[id]; !still {
				h.a[id] = aRow{u: x.u, note: "again"}
				h.emit(change.RowOp{Op: change.Insert, Row: h.aValues(id)}, change.Insert)
			}
		}
	case 7: // a child before its parent
		if _, ok := h.a[id]; !ok {
			k := bKey{h.draw("k1", 3), fmt.Sprint("k", h.draw("k2", 3))}
			if _, taken := h.b[k]; !taken {
				h.b[k] = bRow{a: id, note: "c"}
				h.emit(change.RowOp{Target: 1, Op: change.Insert, Row: h.bValues(k)}, change.Insert)
				h.insertA(id)
			}
		}
	case 8:
		h.stepB()
	case 9: // two rows trade their keys
		other := 1 + h.draw("other", 8)
		h.moveA(id, 100)
		h.moveA(other, id)
		h.moveA(100, other)
		if _, left := h.a[100]; left {
			h.moveA(100, 8+h.draw("free", 40)+1)
		}
	case 10:
		h.truncate()
	}
}

func (h *history) stepB() {
	keys := sortedB(h.b)
	if len(keys) == 0 {
		return
	}
	k := keys[h.draw("b", len(keys))]
	key := change.Row{change.String(fmt.Sprint(k.k1)), change.String(k.k2)}
	switch h.draw("what", 3) {
	case 0:
		delete(h.b, k)
		h.emit(change.RowOp{Target: 1, Op: change.Delete, Key: key}, change.Delete)
	case 1:
		boss, ok := pick(h, "boss", h.a)
		r := h.b[k]
		if ok {
			r.a = boss
		}
		h.b[k] = r
		values := h.bValues(k)
		values[3] = change.Absent()
		h.emit(change.RowOp{Target: 1, Op: change.Update, Row: values}, change.Update)
	case 2:
		to := bKey{h.draw("k1", 3), fmt.Sprint("k", h.draw("k2", 3))}
		if _, taken := h.b[to]; !taken {
			h.b[to] = h.b[k]
			delete(h.b, k)
			h.emit(change.RowOp{Target: 1, Op: change.Update, Key: key, Row: h.bValues(to)}, change.Update)
		}
	}
}

func (h *history) truncate() {
	if h.draw("really", 4) != 0 {
		return
	}
	h.b = map[bKey]bRow{}
	if h.draw("both", 2) == 0 {
		h.a = map[int]aRow{}
		h.emit(change.RowOp{Op: change.Truncate}, change.Truncate)
	}
	h.emit(change.RowOp{Target: 1, Op: change.Truncate}, change.Truncate)
}

func (h *history) dump() (a, b string) {
	var as, bs []string
	for _, id := range sortedKeys(h.a) {
		as = append(as, strings.ReplaceAll(text(h.aValues(id)), " ", ""))
	}
	for _, k := range sortedB(h.b) {
		bs = append(bs, text(h.bValues(k)))
	}
	slices.Sort(as)
	slices.Sort(bs)
	return strings.Join(as, " "), strings.Join(bs, " ")
}

// way is one form in which a history is applied, with tables of its own.
type way struct {
	schema string
	apply  func(r *rig, h *history, cuts []int) error
}

func TestSetWiseMeansWhatSerialMeans(t *testing.T) {
	base := newRig(t, "SELECT 1")
	ways := []*way{
		{schema: "one", apply: oneBatch}, {schema: "many", apply: manyBatches},
		{schema: "sliced", apply: sliced}, {schema: "serial", apply: serially},
	}
	for _, w := range ways {
		pgtest.Exec(t, base.conn, fmt.Sprintf(historyDDL, w.schema))
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{t: rt, a: map[int]aRow{}, b: map[bKey]bRow{}, pos: change.Position{Epoch: 1, LSN: 1}}
		var cuts []int
		for range rapid.IntRange(1, 12).Draw(rt, "transactions") {
			h.pos.LSN, h.pos.Seq = h.pos.LSN+8, 0
			for range rapid.IntRange(1, 8).Draw(rt, "steps") {
				h.step()
			}
			cuts = append(cuts, len(h.changes))
		}
		wantA, wantB := h.dump()
		n++
		for _, w := range ways {
			pgtest.Exec(t, base.conn, fmt.Sprintf("TRUNCATE %[1]s.a, %[1]s.b", w.schema))
			r := &rig{t: t, url: base.url, conn: base.conn, asker: &asker{}, cfg: base.cfg}
			r.cfg.Migration, r.cfg.Asker, r.cfg.NoOrigin = fmt.Sprint(w.schema, n), r.asker, true
			r.cfg.Targets = targets(t, base.conn, w.schema+".a", w.schema+".b")
			r.cfg.Targets[1].Columns = r.cfg.Targets[1].Columns[:4] // one column is the target's own
			r.reopen()
			err := w.apply(r, h, cuts)
			r.target.Close()
			if err != nil {
				rt.Fatalf("%s: %v", w.schema, err)
			}
			if len(r.asker.keys) > 0 {
				rt.Fatalf("%s: asked for %v", w.schema, r.asker.keys)
			}
			gotA := query(t, base.conn, fmt.Sprintf(`SELECT l FROM (SELECT concat_ws(',', id, u, note, coalesce(boss::text, 'NULL')) AS l FROM %s.a) x ORDER BY l COLLATE "C"`, w.schema))
			gotB := query(t, base.conn, fmt.Sprintf(`SELECT l FROM (SELECT concat_ws(',', k1, k2, coalesce(a::text, 'NULL'), note) AS l FROM %s.b) x ORDER BY l COLLATE "C"`, w.schema))
			if gotA != wantA || gotB != wantB {
				rt.Fatalf("%s:\n a    %s\n want %s\n b    %s\n want %s", w.schema, gotA, wantA, gotB, wantB)
			}
		}
	})
}

func (r *rig) plan(h *history, from, to int, boundary bool) frontier.Batch[change.Mapped] {
	r.offset++
	at := change.Position{Epoch: 1, LSN: h.pos.LSN, Seq: uint64(1000 + r.offset)}
	if !boundary { // inside the source transaction of the last change
		at = h.changes[to-1].Pos
	}
	return frontier.Batch[change.Mapped]{Offset: r.offset, Changes: h.changes[from:to], Frontier: &frontier.Frontier{At: at, Boundary: boundary}}
}

func oneBatch(r *rig, h *history, _ []int) error {
	return r.apply(r.plan(h, 0, len(h.changes), true))
}

func manyBatches(r *rig, h *history, cuts []int) error {
	from := 0
	for _, to := range cuts {
		if err := r.apply(r.plan(h, from, to, true)); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// sliced is one open target transaction, in slices that end anywhere.
func sliced(r *rig, h *history, _ []int) error {
	for from := 0; ; from += 5 {
		to := min(from+5, len(h.changes))
		if err := r.apply(r.plan(h, from, to, to == len(h.changes))); err != nil || to == len(h.changes) {
			return err
		}
	}
}

// serially applies each change by itself, in source order.
func serially(r *rig, h *history, cuts []int) error {
	t := r.target
	p, err := t.Prepare([]frontier.Batch[change.Mapped]{r.plan(h, 0, len(h.changes), true)})
	if err != nil {
		return err
	}
	begin := &runner{t: t, ctx: r.t.Context(), opens: true, saves: true}
	if err := begin.run(nil); err != nil {
		return err
	}
	t.tx.open = true
	halves := &halving{t: t, ctx: r.t.Context(), plan: p, all: p.all, refused: map[int]refusal{}}
	from := 0
	for _, to := range cuts {
		if err := halves.serial(from, to); err != nil {
			return err
		}
		if broken, err := halves.check(); err != nil || broken != nil {
			return cmp.Or(err, broken)
		}
		from = to
	}
	p.changes = halves.kept
	return t.finish(r.t.Context(), p, halves.missing)
}
