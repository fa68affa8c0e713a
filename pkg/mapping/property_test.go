package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/table"
)

// world is a source table, the stream of its changes and a target that applies what the mapping makes of them, as package
// pgtarget does: the model that the rules of Map are held to.
type world struct {
	t       *rapid.T
	source  *table.Table
	mapper  *Mapper
	rule    *Rule
	seq     uint64
	rows    map[string]change.Row // by id
	target  map[string]change.Row // by key
	pending map[string]bool       // ids that were asked for
}

func rules() []string {
	return []string{
		"{from: public.a, to: crm.a, set: {k: id, x: a, y: a + b, z: n + 1, w: upper(b)}, ignore: [flag]}",
		"{from: public.a, to: crm.a, where: flag, set: {k: id, x: a, y: a + b, z: n + 1, w: upper(b)}}",
		"{from: public.a, to: crm.a, where: 'a != \"a1\"', set: {k: '\"K\" + string(id)', x: a, y: a + b, z: n + 1, w: upper(b)}, ignore: [flag]}",
		"{from: public.a, to: crm.a, where: 'flag and (b ?? a) != \"b2\"', set: {k: id, x: a, y: '(a ?? \"\") + (b ?? \"\")', z: n, w: b}}",
	}
}

func TestMappedOperationsKeepTheTargetTrue(t *testing.T) {
	for _, identity := range []table.Identity{table.IdentityDefault, table.IdentityFull} {
		for _, rule := range rules() {
			source := shape("public.a", "id integer key", "a text null", "b text null", "n integer null", "flag boolean null")
			source.Identity = identity
			target := shape("crm.a", "k text key", "x text null", "y text null", "z bigint null", "w text null")
			m := compile(t, "\ntables: ["+rule+"]\n", []*table.Table{source}, []*table.Table{target})
			t.Run(fmt.Sprintf("%c %s", identity, rule), rapid.MakeCheck(func(t *rapid.T) {
				w := &world{
					t: t, source: source, mapper: m.Mapper(), rule: m.Rules()[0],
					rows: map[string]change.Row{}, target: map[string]change.Row{}, pending: map[string]bool{},
				}
				t.Repeat(map[string]func(*rapid.T){
					"insert": w.insert, "update": w.update, "move": w.move, "delete": w.delete,
					"truncate": w.truncate, "answer": w.answer, "chunk": w.chunk,
				})
				for len(w.pending) > 0 {
					w.answerOne(slices.Sorted(maps.Keys(w.pending))[0])
				}
				w.compare()
			}))
		}
	}
}

func (w *world) text(t *rapid.T, prefix string) change.Value {
	if n := rapid.IntRange(0, 4).Draw(t, prefix); n > 0 {
		return change.String(prefix + strconv.Itoa(n))
	}
	return change.Null()
}

func (w *world) fresh(t *rapid.T, id string) change.Row {
	n, flag := change.Null(), change.Null()
	if rapid.Bool().Draw(t, "n") {
		n = change.String("7")
	}
	if b := rapid.IntRange(0, 2).Draw(t, "flag"); b > 0 {
		flag = change.String([]string{"", "t", "f"}[b])
	}
	return change.Row{change.String(id), w.text(t, "a"), w.text(t, "b"), n, flag}
}

// some picks an id that exists, or one that does not.
func (w *world) some(t *rapid.T, exists bool) string {
	var ids []string
	for i := range 6 {
		id := strconv.Itoa(i)
		if _, ok := w.rows[id]; ok == exists {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Skip("no such row")
	}
	return rapid.SampledFrom(ids).Draw(t, "id")
}

func (w *world) insert(t *rapid.T) {
	id := w.some(t, false)
	w.rows[id] = w.fresh(t, id)
	w.emit(change.Insert, nil, w.rows[id])
}

func (w *world) update(t *rapid.T) {
	id := w.some(t, true)
	w.change(t, id, id)
}

func (w *world) move(t *rapid.T) { w.change(t, w.some(t, true), w.some(t, false)) }

// change updates a row; a text that does not change may be stored elsewhere, and then the log leaves it out.
func (w *world) change(t *rapid.T, from, to string) {
	old := w.rows[from]
	row := w.fresh(t, to)
	sent := slices.Clone(row)
	for _, i := range []int{1, 2} {
		if rapid.Bool().Draw(t, "unchanged") {
			row[i], sent[i] = old[i], old[i]
			if !old[i].IsNull() && rapid.Bool().Draw(t, "stored elsewhere") {
				sent[i] = change.Absent()
			}
		}
	}
	delete(w.rows, from)
	w.rows[to] = row
	w.emit(change.Update, w.before(old, from != to), sent)
}

func (w *world) before(old change.Row, needed bool) change.Row {
	switch {
	case w.source.Identity == table.IdentityFull:
		return old
	case needed:
		out := make(change.Row, len(old))
		out[0] = old[0]
		return out
	}
	return nil
}

func (w *world) delete(t *rapid.T) {
	id := w.some(t, true)
	old := w.rows[id]
	delete(w.rows, id)
	w.emit(change.Delete, w.before(old, true), nil)
}

func (w *world) truncate(*rapid.T) {
	clear(w.rows)
	w.emit(change.Truncate, nil, nil)
}

func (w *world) answer(t *rapid.T) {
	if len(w.pending) == 0 {
		t.Skip("nothing was asked for")
	}
	w.answerOne(rapid.SampledFrom(slices.Sorted(maps.Keys(w.pending))).Draw(t, "asked"))
}

// answerOne sends what the reader sends for a requested key.
func (w *world) answerOne(id string) {
	delete(w.pending, id)
	if r, ok := w.rows[id]; ok {
		w.emit(change.Read, nil, r)
		return
	}
	w.emit(change.Delete, change.Row{change.String(id), {}, {}, {}, {}}, nil)
}

// chunk reads everything, as the initial load does.
func (w *world) chunk(*rapid.T) {
	for _, id := range slices.Sorted(maps.Keys(w.rows)) {
		w.emit(change.Read, nil, w.rows[id])
	}
}

func (w *world) emit(op change.Op, before, after change.Row) {
	w.seq++
	c := &change.Change{Pos: change.Position{Epoch: 1, LSN: w.seq, Seq: 1}, Table: w.source, Op: op, Before: before, After: after}
	var out change.Mapped
	if err := w.mapper.Map(c, &out); err != nil {
		w.t.Fatal(err)
	}
	if op != change.Truncate && len(out.SourceKey) != 1 {
		w.t.Fatalf("no source key: %+v", out)
	}
	if out.Want != nil {
		w.pending[string(out.Want[0].Bytes())] = true
	}
	for _, o := range out.Ops {
		if !w.apply(o) {
			w.pending[string(out.SourceKey[0].Bytes())] = true
		}
	}
}

// apply is the meaning of an operation; false: a partial one found no row.
func (w *world) apply(o change.RowOp) bool {
	switch o.Op {
	case change.Truncate:
		clear(w.target)
	case change.Delete:
		delete(w.target, string(o.Key[0].Bytes()))
	case change.Insert, change.Read:
		if !o.Row.Whole() {
			w.t.Fatalf("%s with absent columns: %s", o.Op, show(o.Row))
		}
		w.target[string(o.Row[0].Bytes())] = o.Row
	case change.Update:
		at := o.Row[0]
		if o.Key != nil {
			at = o.Key[0]
		}
		old, found := w.target[string(at.Bytes())]
		if !found && !o.Row.Whole() {
			return false
		}
		row := slices.Clone(o.Row)
		for i := range row {
			if row[i].IsAbsent() {
				row[i] = old[i]
			}
		}
		delete(w.target, string(at.Bytes()))
		w.target[string(row[0].Bytes())] = row
	}
	return true
}

func (w *world) compare() {
	want := map[string]string{}
	for _, r := range w.rows {
		mapped, ok, err := w.rule.Expected(r)
		if err != nil {
			w.t.Fatal(err)
		}
		if ok {
			want[string(w.rule.Key(mapped)[0].Bytes())] = show(mapped)
		}
	}
	got := map[string]string{}
	for k, r := range w.target {
		got[k] = show(r)
	}
	if !maps.Equal(got, want) {
		w.t.Fatalf("the target holds %v, the source says %v", got, want)
	}
}

// Decimals calculate as PostgreSQL's numeric does; integers stand in for an oracle.
func TestDecimals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(-1e12, 1e12).Draw(t, "a")
		b := rapid.Int64Range(-1e6, 1e6).Draw(t, "b")
		scale := rapid.IntRange(0, 3).Draw(t, "scale")
		d, err := ParseDecimal(Decimal{unscaled: decimalOfInt(int(a)).unscaled, scale: scale}.String())
		if err != nil || d.scale != scale || d.int().Int64() != a {
			t.Fatalf("%d at %d: read back as %v, %v", a, scale, d, err)
		}
		e := Decimal{unscaled: decimalOfInt(int(b)).unscaled, scale: scale}
		if got := d.plus(e); got.int().Int64() != a+b || got.scale != scale {
			t.Fatalf("%v + %v = %v", d, e, got)
		}
		if got := d.minus(e); got.int().Int64() != a-b {
			t.Fatalf("%v - %v = %v", d, e, got)
		}
		if got := d.times(e); got.int().Int64() != a*b || got.scale != 2*scale {
			t.Fatalf("%v * %v = %v", d, e, got)
		}
		if (d.compare(e) < 0) != (a < b) || (d.compare(e) == 0) != (a == b) {
			t.Fatalf("%v against %v: %d", d, e, d.compare(e))
		}
		if b == 0 {
			return
		}
		q, err := d.over(e, 0)
		if err != nil {
			t.Fatal(err)
		}
		// |a - q·b| ≤ |b|/2
		if r := a - q.int().Int64()*b; 2*max(r, -r) > max(b, -b) {
			t.Fatalf("%v / %v = %v", d, e, q)
		}
	})
}
