package chunk_test

import (
	"slices"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/table"
)

// script turns lines such as "7 u k1>k2 5 -" (transaction 7 moves k1 to k2, sets a to 5 and leaves toast alone) into a window.
func script(lines ...string) *chunk.Window {
	w := chunk.NewWindow(modelTable, 1<<20)
	for _, l := range lines {
		f := strings.Fields(l)
		c := &change.Change{Table: modelTable, Op: change.Op(f[1][0]), Tx: change.Tx{XID: uint32(f[0][0] - '0')}}
		if c.Op != change.Truncate {
			old, key, moved := strings.Cut(f[2], ">")
			switch {
			case c.Op == change.Delete:
				c.Before = row(f[2], "-", "-")
			case moved:
				c.Before, c.After = row(old, "-", "-"), row(key, f[3], f[4])
			default:
				c.After = row(f[2], f[3], f[4])
			}
		}
		w.Add(c)
	}
	return w
}

func row(values ...string) change.Row {
	var r change.Row
	for _, v := range values {
		if v == "-" {
			r = append(r, change.Absent())
			continue
		}
		r = append(r, change.String(v))
	}
	return r
}

func rows(lines []string) []change.Row {
	var out []change.Row
	for _, l := range lines {
		out = append(out, row(strings.Fields(l)...))
	}
	return out
}

func text(rs []change.Row) []string {
	var out []string
	for _, r := range rs {
		var f []string
		for _, v := range r {
			if v.IsAbsent() {
				f = append(f, "-")
				continue
			}
			f = append(f, string(v.Bytes()))
		}
		out = append(out, strings.Join(f, " "))
	}
	slices.Sort(out)
	return out
}

// The snapshot of these tests sees transactions below 5.
var sees5 = chunk.Snapshot{Xmin: 5, Xmax: 5}

func TestOverlayOfRows(t *testing.T) {
	for _, tc := range []struct {
		name             string
		found, in, wants []string
	}{
		{"nothing happened", []string{"a 1 x", "b 1 y"}, nil, []string{"a 1 x", "b 1 y"}},
		{"an absent column keeps the chunk's value", []string{"a 1 x"}, []string{"6 u a 2 -"}, []string{"a 2 x"}},
		{"what the snapshot contains is skipped", []string{"a 2 x"}, []string{"3 u a 1 -", "4 u a 2 -"}, []string{"a 2 x"}},
		{"one visible, one not", []string{"a 1 x"}, []string{"3 u a 1 -", "6 u a 2 -"}, []string{"a 2 x"}},
		{"a delete drops", []string{"a 1 x", "b 1 y"}, []string{"6 d a"}, []string{"b 1 y"}},
		{"delete and insert of one key", []string{"a 1 x"}, []string{"6 d a", "7 c a 2 z", "8 u a 3 -"}, []string{"a 3 z"}},
		{"a key change moves", []string{"a 1 x"}, []string{"6 u a>b 2 -", "7 u b 3 -"}, []string{"b 3 x"}},
		{"a swap", []string{"a 1 x", "b 2 y"}, []string{"6 u a>t 1 -", "6 u b>a 2 -", "6 u t>b 1 -"}, []string{"a 2 y", "b 1 x"}},
		{"half a swap is the stream's", []string{"a 1 x"}, []string{"6 u a>t 1 -", "6 u b>a 2 -", "6 u t>b 1 -"}, []string{"b 1 x"}},
		{"a chain of keys", []string{"a 1 x"}, []string{"6 u a>b 1 -", "7 u b>c 2 -", "8 c a 9 n"}, []string{"a 9 n", "c 2 x"}},
		{"a moved key that is deleted", []string{"a 1 x"}, []string{"6 u a>b 1 -", "7 d b"}, nil},
		{"truncate drops all", []string{"a 1 x", "b 1 y"}, []string{"6 u a 2 -", "7 t"}, nil},
		{"a key that the chunk did not find", []string{"a 1 x"}, []string{"6 c n 1 q", "7 u n 2 -", "8 u o 2 -"}, []string{"a 1 x"}},
		{"a strange row moves onto a dropped key", []string{"a 1 x"}, []string{"6 d a", "7 u s>a 2 -"}, nil},
	} {
		if got := text(script(tc.in...).Rows(sees5, rows(tc.found))); !slices.Equal(got, tc.wants) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.wants)
		}
	}
}

func TestOverlayOfKeys(t *testing.T) {
	for _, tc := range []struct {
		name               string
		asked, found, in   []string
		wantRows, wantGone []string
		again              bool
	}{
		{name: "one found, one not", asked: []string{"a - -", "b - -"}, found: []string{"a 1 x"}, wantRows: []string{"a 1 x"}, wantGone: []string{"b - -"}},
		{name: "inserted since", asked: []string{"b - -"}, in: []string{"6 c b 1 y", "7 u b 2 -"}, wantRows: []string{"b 2 y"}},
		{name: "deleted since", asked: []string{"a - -"}, found: []string{"a 1 x"}, in: []string{"6 d a"}, wantGone: []string{"a - -"}},
		{name: "moved away", asked: []string{"a - -"}, found: []string{"a 1 x"}, in: []string{"6 u a>c 2 -"}, wantRows: []string{"c 2 x"}, wantGone: []string{"a - -"}},
		{name: "another row moved here, whole", asked: []string{"b - -"}, in: []string{"6 u z>b 2 q"}, wantRows: []string{"b 2 q"}},
		{name: "another row moved here, in part", asked: []string{"b - -"}, in: []string{"6 u z>b 2 -"}, again: true},
		{name: "in part, and visible", asked: []string{"b - -"}, found: []string{"b 2 q"}, in: []string{"4 u z>b 2 -"}, wantRows: []string{"b 2 q"}},
		{name: "truncated", asked: []string{"a - -", "b - -"}, found: []string{"a 1 x"}, in: []string{"6 t"}, wantGone: []string{"a - -", "b - -"}},
		{name: "truncated, then inserted", asked: []string{"a - -"}, found: []string{"a 1 x"}, in: []string{"6 t", "7 c a 2 y"}, wantRows: []string{"a 2 y"}},
	} {
		got, ok := script(tc.in...).Keys(sees5, rows(tc.asked), rows(tc.found))
		if ok == tc.again {
			t.Errorf("%s: ok is %v", tc.name, ok)
		}
		if !slices.Equal(text(got.Rows), tc.wantRows) || !slices.Equal(text(got.Gone), tc.wantGone) {
			t.Errorf("%s: got %q and gone %q", tc.name, text(got.Rows), text(got.Gone))
		}
	}
}

func TestWindowIsBounded(t *testing.T) {
	w := chunk.NewWindow(modelTable, 1000)
	for range 100 {
		w.Add(&change.Change{Table: modelTable, Op: change.Insert, After: row("a", "1", "x")})
	}
	if !w.Overflowed() {
		t.Error("a window of 1000 bytes took 100 changes")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	b := []byte("abc")
	c := &change.Change{Op: change.Update, Before: change.Row{change.Text(b[:1]), change.Null()}, After: change.Row{change.Text(b), change.Absent()}}
	got := chunk.Clone(c)
	copy(b, "zzz")
	if string(got.After[0].Bytes()) != "abc" || string(got.Before[0].Bytes()) != "a" || !got.Before[1].IsNull() || !got.After[1].IsAbsent() {
		t.Errorf("%v", got)
	}
	if (chunk.Clone(&change.Change{Op: change.Truncate})).After != nil {
		t.Error("a row from nowhere")
	}
}

// A stub over a chunk's row makes all but its key unknown, until later changes tell; it is never taken for a row whose other columns stayed.
func TestStubsOverRows(t *testing.T) {
	tbl := &table.Table{Key: []int{0}, Columns: []table.Column{{Name: "id"}, {Name: "a"}, {Name: "b"}}}
	row := func(v ...string) change.Row {
		r := make(change.Row, len(v))
		for i, s := range v {
			if s != "?" {
				r[i] = change.String(s)
			}
		}
		return r
	}
	snapshot := chunk.Snapshot{Xmin: 10, Xmax: 10}
	stub := func(op change.Op, before, after change.Row) *change.Change {
		return &change.Change{Tx: change.Tx{XID: 20}, Table: tbl, Op: op, Before: before, After: after, Fault: &change.Fault{Code: change.FaultTooLarge}}
	}
	update := func(after change.Row) *change.Change {
		return &change.Change{Tx: change.Tx{XID: 21}, Table: tbl, Op: change.Update, After: after}
	}
	for name, c := range map[string]struct {
		changes []*change.Change
		want    change.Row
	}{
		"a stub":                      {[]*change.Change{stub(change.Update, nil, row("1", "?", "?"))}, row("1", "?", "?")},
		"a stub, then a part":         {[]*change.Change{stub(change.Update, nil, row("1", "?", "?")), update(row("1", "x", "?"))}, row("1", "x", "?")},
		"a stub, then the whole":      {[]*change.Change{stub(change.Update, nil, row("1", "?", "?")), update(row("1", "x", "y"))}, row("1", "x", "y")},
		"a stub that changes the key": {[]*change.Change{stub(change.Update, row("1", "?", "?"), row("2", "?", "?"))}, row("2", "?", "?")},
	} {
		w := chunk.NewWindow(tbl, 1<<20)
		for _, ch := range c.changes {
			w.Add(ch)
		}
		got := w.Rows(snapshot, []change.Row{row("1", "old", "old")})
		if len(got) != 1 || !slices.EqualFunc(got[0], c.want, change.Value.Equal) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
