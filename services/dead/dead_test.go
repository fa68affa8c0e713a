package dead

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/table"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func name(s string) table.Name { return table.Name{Schema: "public", Table: s} }

// parked is a row of table t that was parked so many minutes before noon.
func parked(t, key, code string, lsn uint64, cause uint64, minutes int) pgtarget.Parked {
	p := pgtarget.Parked{
		Source: name(t), Key: change.Row{change.String(key)}, At: change.Position{Epoch: 1, LSN: lsn, Seq: 1}, Op: "update",
		Fault: change.Fault{Stage: "applier", Code: code, Text: "because of " + code}, Changes: 1, Parked: noon.Add(-time.Duration(minutes) * time.Minute),
	}
	p.Last = p.At.String()
	if cause > 0 {
		p.Cause = change.Position{Epoch: 1, LSN: cause, Seq: 1}.String()
	}
	return p
}

func keysOfList(list []pgtarget.Parked) string {
	var out []string
	for i := range list {
		out = append(out, KeyText(list[i].Key))
	}
	return strings.Join(out, " ")
}

func pattern(t *testing.T, s string) migration.Pattern {
	t.Helper()
	p, err := migration.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFilter(t *testing.T) {
	list := []pgtarget.Parked{
		parked("orders", "1", "23503", 16, 0, 90), parked("orders", "2", "too_large", 32, 0, 60),
		parked("lines", "1", "23503", 48, 16, 30), parked("lines", "9", "joined", 64, 0, 5),
	}
	key := func(s string) change.Row { k, _ := ParseKey(s); return k }
	for what, c := range map[string]struct {
		filter Filter
		want   string
	}{
		"nothing":         {Filter{}, "1 2 1 9"},
		"a table":         {Filter{Tables: []migration.Pattern{pattern(t, "public.orders")}}, "1 2"},
		"two tables":      {Filter{Tables: []migration.Pattern{pattern(t, "public.orders"), pattern(t, "*.lines")}}, "1 2 1 9"},
		"another schema":  {Filter{Tables: []migration.Pattern{pattern(t, "sales.*")}}, ""},
		"a code":          {Filter{Codes: []string{"23503"}}, "1 1"},
		"two codes":       {Filter{Codes: []string{"joined", "too_large"}}, "2 9"},
		"a key":           {Filter{Keys: []change.Row{key("1")}}, "1 1"},
		"a longer key":    {Filter{Keys: []change.Row{key(`["1","1"]`)}}, ""},
		"a cause":         {Filter{Cause: "1:0/10#1"}, "1"},
		"since":           {Filter{Since: noon.Add(-time.Hour)}, "2 1 9"},
		"all of it":       {Filter{Tables: []migration.Pattern{pattern(t, "public.lines")}, Codes: []string{"23503"}, Keys: []change.Row{key("1"), key("2")}}, "1"},
		"a code nowhere":  {Filter{Codes: []string{"23505"}}, ""},
		"not NULL but it": {Filter{Keys: []change.Row{key("[null]")}}, ""},
	} {
		if got := keysOfList(c.filter.Take(list)); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
		if got := c.filter.Empty(); got != (what == "nothing") {
			t.Errorf("%s: empty is %v", what, got)
		}
	}
	n := pgtarget.Pending{Source: name("orders"), Key: change.Row{change.String("7")}, Asked: noon}
	if f := (Filter{Tables: []migration.Pattern{pattern(t, "public.orders")}, Keys: []change.Row{key("7")}, Since: noon}); !f.MatchPending(&n) {
		t.Error("a pending row is not found")
	}
	if f := (Filter{Keys: []change.Row{key("8")}}); f.MatchPending(&n) {
		t.Error("another pending row is found")
	}
}

func TestSince(t *testing.T) {
	zone := time.FixedZone("there", 2*3600)
	now := noon.In(zone)
	for text, want := range map[string]time.Time{
		"2h": noon.Add(-2 * time.Hour), "0s": noon, "2026-03-01": time.Date(2026, 3, 1, 0, 0, 0, 0, zone), "2026-03-01 10:30": time.Date(2026, 3, 1, 10, 30, 0, 0, zone),
		"2026-03-01 10:30:15": time.Date(2026, 3, 1, 10, 30, 15, 0, zone), "2026-03-01T10:30:00Z": time.Date(2026, 3, 1, 10, 30, 0, 0, time.UTC),
	} {
		if got, err := Since(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-2h", "12:30"} {
		if got, err := Since(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// What is shown of a key is read as the same key, and cannot drive a terminal.
func TestKeysAreReadAsTheyAreShown(t *testing.T) {
	for _, key := range []change.Row{
		{change.String("7")}, {change.String("a b")}, {change.String("[1,2)")}, {change.String("{1}")}, {change.String("a,b")}, {change.String("")}, {change.String("@x")},
		{change.String(" padded ")}, {change.String("x\x1b[31m\u202e\u0085\U000e0001\U0001f600\n")}, {change.Null()}, {change.String("null")},
		{change.String("eu"), change.String("7")}, {change.String(`"`), change.Null()}, {change.String("Größe")},
	} {
		shown := KeyText(key)
		if strings.ContainsAny(shown, "\x1b\u202e\u0085\n\U000e0001") {
			t.Errorf("%q is shown as it is", shown)
		}
		if got, err := ParseKey(shown); err != nil || !same(got, key) {
			t.Errorf("%s is read as %s, %v", shown, KeyText(got), err)
		}
		if got, err := ParseKeys(shown, false); err != nil || len(got) != 1 || !same(got[0], key) {
			t.Errorf("%s is read as %d keys, %v", shown, len(got), err)
		}
	}
	for text, want := range map[string]string{
		"1, 2,3": "1 2 3", `["a", 1.50] ["b",true]`: `["a","1.50"] ["b","true"]`, "7": "7",
	} {
		got, err := ParseKeys(text, false)
		var shown []string
		for _, k := range got {
			shown = append(shown, KeyText(k))
		}
		if err != nil || strings.Join(shown, " ") != want {
			t.Errorf("%s is read as %v, %v", text, shown, err)
		}
	}
	if got, err := ParseKeys("1\n\n a,b \n[\"x\",1]\n", true); err != nil || len(got) != 3 || KeyText(got[1]) != `["a,b"]` {
		t.Errorf("a file is read as %v, %v", got, err)
	}
	for _, text := range []string{"", "[secret", `{"id":1}`, "[]", `[["secret"]]`, `["secret" `} {
		if _, err := ParseKey(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func progress() *pgtarget.Progress {
	return &pgtarget.Progress{Migration: "shop", At: change.Position{Epoch: 1, LSN: 0x1000, Seq: 1}, Applied: noon.Add(-20 * time.Millisecond)}
}

func shown(t *testing.T, l List) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestListShowsRowsGroupsAndWhatIsLeftOut(t *testing.T) {
	var list []pgtarget.Parked
	for i := range 60 {
		code := "23503"
		if i%3 == 0 {
			code = "too_large"
		}
		list = append(list, parked("orders", string(rune('A'+i)), code, uint64(16*(i+1)), 0, 60-i))
	}
	list = append(list, parked("lines", "x", "23503", 5000, 16, 0))
	list[2].Fault.Text = "a\tname\x1b[31m"
	list[4].Fault.Text = "because of 23503 at " + list[4].At.String() // a text that names its place is no reason of its own

	l := MakeList(progress(), list, nil, Wanted{Many: 50}, noon)
	out := shown(t, l)
	if len(l.Groups) != 4 || l.Groups[0].Rows != 39 || l.Groups[1].Code != "too_large" || l.Groups[0].First != list[1].Parked || l.Groups[0].Last != list[59].Parked {
		t.Errorf("groups: %+v", l.Groups)
	}
	for _, want := range []string{"shop: 61 rows are parked; the target is at 1:0/1000#1, applied 20 ms ago", "counted by reason", "--limit N", "public.orders  23503", "a name[31m"} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("a reason drives the terminal")
	}

	l = MakeList(progress(), list, nil, Wanted{Filter: Filter{Codes: []string{"too_large"}}, Many: 50, Limit: 5}, noon)
	out = shown(t, l)
	if len(l.Rows) != 5 || l.Matched != 20 || !strings.Contains(out, "5 of these 20 are shown; all: --limit 0") {
		t.Errorf("%d rows of %d:\n%s", len(l.Rows), l.Matched, out)
	}

	l = MakeList(progress(), list, []pgtarget.Pending{{Source: name("orders"), Key: change.Row{change.String("p")}, Reason: "not found", Asked: noon}},
		Wanted{Filter: Filter{Tables: []migration.Pattern{pattern(t, "public.lines")}}, Pending: true, Limit: 5}, noon)
	out = shown(t, l)
	if !strings.Contains(out, "no row is pending") || !strings.Contains(out, "1:0/10#1") || len(l.Rows) != 1 {
		t.Errorf("the filter is not of pending rows, or the cause is not shown:\n%s", out)
	}

	many := make([]pgtarget.Pending, 1200)
	for i := range many {
		many[i] = pgtarget.Pending{Source: name("lines"), Key: change.Row{change.String("p")}, Reason: "not found", Asked: noon}
	}
	l = MakeList(progress(), list, many, Wanted{Pending: true, Limit: 5}, noon)
	out = shown(t, l)
	if len(l.Pending) != 1200 || !strings.Contains(out, "1200 rows are pending") || !strings.Contains(out, "5 of these 1200 are shown") || strings.Count(out, "not found") != 5 {
		t.Errorf("%d pending rows:\n%s", len(l.Pending), out)
	}

	out = shown(t, MakeList(progress(), list, nil, Wanted{Filter: Filter{Codes: []string{"nosuch"}}}, noon))
	if !strings.Contains(out, "none of them matches; they are of public.orders, public.lines") {
		t.Error(out)
	}
	empty := MakeList(progress(), nil, nil, Wanted{}, noon)
	if out := shown(t, empty); !strings.Contains(out, "0 rows are parked") {
		t.Error(out)
	}
	if b, _ := json.Marshal(empty); !strings.Contains(string(b), `"rows":[]`) {
		t.Errorf("no list for programs: %s", b)
	}
}

func TestExportIsOneLineEach(t *testing.T) {
	list := []pgtarget.Parked{parked("orders", "a\nb", "23503", 16, 8, 1), parked("lines", "<x>", "too_large", 32, 0, 1)}
	list[0].Key = append(list[0].Key, change.Null())
	var b bytes.Buffer
	if err := Export(&b, "shop", list); err != nil {
		t.Fatal(err)
	}
	const want = `{"migration":"shop","table":"public.orders","key":["a\nb",null],"position":"1:0/10#1","last_position":"1:0/10#1","op":"update","stage":"applier","code":"23503","reason":"because of 23503","cause":"1:0/8#1","changes":1,"time":"2026-03-04T11:59:00Z"}
{"migration":"shop","table":"public.lines","key":["<x>"],"position":"1:0/20#1","last_position":"1:0/20#1","op":"update","stage":"applier","code":"too_large","reason":"because of too_large","changes":1,"time":"2026-03-04T11:59:00Z"}
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// Rows that others wait for are asked for first, whatever their tables; a ring of causes, which nobody has seen, does not hang.
func TestRounds(t *testing.T) {
	tables := []table.Name{name("parent"), name("child")}
	list := []pgtarget.Parked{
		parked("child", "c1", "23503", 48, 32, 0), parked("child", "c2", "23503", 64, 16, 0), parked("parent", "p1", "23514", 16, 0, 0),
		parked("parent", "p2", "joined", 32, 64, 0), parked("child", "c3", "23514", 80, 0, 0), parked("parent", "p3", "mapping", 96, 4096, 0),
		parked("gone", "g", "mapping", 112, 0, 0),
	}
	var got []string
	for _, r := range Rounds(list, tables) {
		got = append(got, r.Table.Table+": "+keysOfList(r.Rows))
	}
	if want := []string{"parent: p1 p3", "child: c3", "child: c2", "parent: p2", "child: c1"}; !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	ring := []pgtarget.Parked{parked("parent", "a", "x", 16, 32, 0), parked("parent", "b", "x", 32, 16, 0), parked("parent", "c", "x", 48, 48, 0)}
	n := 0
	for _, r := range Rounds(ring, tables) {
		n += len(r.Rows)
	}
	if n != 3 || Rounds(nil, tables) != nil {
		t.Errorf("%d rows of a ring", n)
	}
}

func TestRetriedSaysWhatBecameOfEach(t *testing.T) {
	before := []pgtarget.Parked{parked("orders", "1", "23503", 16, 0, 0), parked("orders", "2", "23503", 32, 0, 0), parked("orders", "3", "23503", 48, 0, 0), parked("lines", "1", "mapping", 64, 0, 0)}
	now := []pgtarget.Parked{parked("orders", "2", "23514", 80, 0, 0), parked("lines", "2", "mapping", 96, 0, 0)}
	r := Retried{Migration: "shop", Waited: true}
	for i := range before {
		r.Table(before[i].Source).Asked++
	}
	r.Outcome(before, now, func(p *pgtarget.Parked) bool { return KeyText(p.Key) == "3" })
	if o := r.Table(name("orders")); o.Applied != 1 || o.Parked != 1 || o.Discarded != 1 || o.Why["23514"] != 1 {
		t.Errorf("%+v", o)
	}
	if o := r.Table(name("lines")); o.Applied != 1 || o.Parked != 0 {
		t.Errorf("%+v", o)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"23514 1", "1 given up by somebody", "segue dead list says why 1 row is parked again"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("without %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	_ = (&Retried{}).Write(&b)
	if !strings.Contains(b.String(), "no parked row matches") {
		t.Error(b.String())
	}
}

func TestDiscardedTellsWhoWaits(t *testing.T) {
	given := []pgtarget.Parked{parked("orders", "1", "23514", 16, 0, 0), parked("orders", "2", "23514", 32, 0, 0)}
	left := []pgtarget.Parked{parked("lines", "1", "23503", 48, 16, 0), parked("lines", "2", "23503", 64, 16, 0), parked("lines", "3", "mapping", 80, 0, 0)}
	d := MakeDiscarded("shop", "w", "r", given, left)
	var b bytes.Buffer
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	if len(d.Waiting) != 1 || d.Waiting[0].Rows != 2 || !strings.Contains(b.String(), "2 rows are parked for one of them still: segue dead list --cause 1:0/10#1") || !strings.Contains(b.String(), "because of 23514") {
		t.Errorf("%+v\n%s", d.Waiting, b.String())
	}
	b.Reset()
	d = MakeDiscarded("shop", "w", "r", nil, left)
	_ = d.Write(&b)
	if !strings.Contains(b.String(), "nothing is given up") || len(d.Waiting) != 0 {
		t.Errorf("%s", b.String())
	}
}

func TestShowMasksAndNamesTheCause(t *testing.T) {
	list := []pgtarget.Parked{parked("orders", "7", "23514", 16, 0, 5), parked("lines", "1", "23503", 48, 16, 2)}
	s := MakeShown(progress(), name("lines"), change.Row{change.String("1")}, []pgtarget.Logged{{Time: noon, Action: "parked", Position: "1:0/30#1", Op: "update", Source: name("lines")}}, noon, false)
	if entry := s.SetParked(list); entry != &list[1] {
		t.Fatal("the entry is not found")
	}
	shape := &table.Table{Name: name("lines"), Columns: []table.Column{{Name: "id", Type: "integer"}, {Name: "note", Type: "text"}, {Name: "more", Type: "text"}}}
	row := change.Row{change.String("1"), change.String("secret"), change.Absent()}
	s.Record = Part{Op: "update", Before: s.Cells(shape, nil, row[:1]), Row: s.Cells(shape, nil, row)}
	s.Target = Part{Row: s.Cells(shape, []int{1, 0}, change.Row{change.Null(), change.String("1")})}
	write := func() string {
		var b bytes.Buffer
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	out := write()
	for _, want := range []string{"it waits for public.orders 7, which is parked since 1:0/10#1: 23514", "NULL", "(1 byte)", "values are masked"} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	if b, _ := json.Marshal(s); strings.Contains(out+string(b), "secret") {
		t.Error("a value is shown")
	}
	s.revealed, s.Cause = true, nil
	s.Target.Row = s.Cells(shape, nil, row)
	if out = write(); !strings.Contains(out, `"secret"`) || !strings.Contains(out, "not sent") || !strings.Contains(out, "whose row is parked no more") {
		t.Error(out)
	}
	if s.SetParked(list[:1]) != nil {
		t.Error("another row's entry")
	}
}
