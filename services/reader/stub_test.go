package reader

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// narrow is a tape whose lanes have little room.
type narrow struct{ tape }

func (*narrow) Room(int) int { return 100 }

// shown encodes a change as people can read it.
type shown struct{ plain }

func (shown) AppendValue(dst []byte, c *change.Change) ([]byte, error) {
	text := func(r change.Row) string {
		var out []string
		for _, v := range r {
			if v.IsAbsent() {
				out = append(out, "?")
				continue
			}
			out = append(out, string(v.Bytes()))
		}
		return strings.Join(out, ",")
	}
	dst = fmt.Appendf(dst, "%c %s>%s", c.Op, text(c.Before), text(c.After))
	if c.Fault != nil {
		dst = fmt.Appendf(dst, " %s %d", c.Fault.Code, c.Fault.Size)
	}
	return dst, nil
}

// What does not fit loses the old row's values first, then the new row's; its place, its lane and its key stay.
func TestStubs(t *testing.T) {
	large := strings.Repeat("x", 200)
	value := func(s string) change.Value {
		if s == "?" {
			return change.Absent()
		}
		return change.String(s)
	}
	of := func(id, a string) change.Row { return change.Row{change.String(id), value(a)} }
	keyed := &table.Table{OID: 1, Name: table.Name{Schema: "public", Table: "t"}, Key: []int{0}, Columns: []table.Column{{Name: "id"}, {Name: "a", Base: "bytea"}}}
	for _, c := range []struct {
		change change.Change
		want   string
	}{
		{change.Change{Op: change.Insert, After: of("1", "small")}, "c >1,small"},
		{change.Change{Op: change.Insert, After: of("1", large+large)}, "c >1,? too_large 205"},
		{change.Change{Op: change.Insert, After: of("1", large[:150])}, "c >1,? too_large 161"}, // may be small enough: it is encoded to see
		{change.Change{Op: change.Update, Before: of("1", large+large), After: of("1", "b")}, "u 1,?>1,b"},
		{change.Change{Op: change.Update, Before: of("1", large+large), After: of("2", large+large)}, "u 1,?>2,? too_large 404"},
		{change.Change{Op: change.Delete, Before: of("1", large+large)}, "d 1,?>"},
		{change.Change{Op: change.Update, After: of("1", "?")}, "u >1,?"},
	} {
		w := &narrow{}
		l := newLanes(w, []*table.Table{keyed}, []Encoder{shown{}}, 1)
		c.change.Table = keyed
		if _, err := l.put(context.Background(), &c.change); err != nil {
			t.Errorf("%s: %v", c.want, err)
			continue
		}
		if !strings.Contains(w.lines[0], c.want) {
			t.Errorf("got %s, want %s", w.lines[0], c.want)
		}
		if stub := strings.Contains(c.want, "too_large"); (c.change.Fault != nil) != stub {
			t.Errorf("%s: the change does not say so", c.want)
		}
	}
	if c := readOf(&emission{table: keyed, large: map[string]int64{string(of("1", "?").AppendKey(nil, []int{0})): 77}}, of("1", "?")); c.Fault == nil || c.Fault.Size != 77 {
		t.Errorf("a row that was given by its key: %+v", c.Fault)
	}
	// Nothing identifies a row without a key: it stops the reader, with what to do.
	keyless := *keyed
	keyless.Key = nil
	l := newLanes(&narrow{}, []*table.Table{&keyless}, []Encoder{shown{}}, 1)
	_, err := l.put(context.Background(), &change.Change{Table: &keyless, Op: change.Insert, After: of("1", large+large)})
	if fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "max.message.bytes") || strings.Contains(err.Error(), "xx") {
		t.Errorf("a large row without a key: %v (%s)", err, fault.HintOf(err))
	}
}
