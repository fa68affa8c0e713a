package wire

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// encodeBy encodes an update by the codec of another shape of the table, in the same registry: every value says its column's name, or
// 7 where that is a number.
func encodeBy(t *testing.T, reg Registry, shape *table.Table) []byte {
	t.Helper()
	c := change.Change{Table: shape, Op: change.Update, Pos: change.Position{Epoch: 1, LSN: 77, Seq: 3}, After: make(change.Row, len(shape.Columns))}
	for i := range c.After {
		c.After[i] = change.String(sample(&shape.Columns[i]))
	}
	c.Before = make(change.Row, len(shape.Columns))
	for _, k := range shape.Key {
		c.Before[k] = c.After[k]
	}
	framed, err := rawCodec(t, reg, shape, here).AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	return framed
}

func sample(c *table.Column) string {
	switch kindOf(c) {
	case kindBool:
		return "t"
	case kindBytes:
		return "\\x00ff"
	case kindString:
		return c.Name
	case kindInt, kindLong, kindFloat, kindDouble:
	}
	return "7"
}

// Records of an older shape of the table are read by the schema that they were written by: columns are matched by name, and what the older
// shape does not know, or knew as another type, is absent (P1: never NULL, never read as something else).
func TestOlderSchemas(t *testing.T) {
	for _, v := range []struct {
		name   string
		change func(*table.Table)
		absent string
	}{
		{"a longer varchar", func(s *table.Table) {
			s.Columns[1].Type, s.Columns[1].Mod = "character varying(200)", 204
		}, ""},
		{"a domain dropped", func(s *table.Table) { s.Columns[8].Type = "integer" }, ""},
		{"a column more", func(s *table.Table) {
			s.Columns = append([]table.Column{{Name: "more", Type: "text", Base: "text", Mod: -1}}, s.Columns...)
			s.Key = []int{9, 1}
		}, ""},
		{"a column less", func(s *table.Table) { s.Columns = s.Columns[:9] }, "tags"},
		{"a renamed column", func(s *table.Table) { s.Columns[1].Name = "nickname" }, "name"},
		{"another type, the same in Avro", func(s *table.Table) { s.Columns[1].Base = "numeric" }, "name"},
		{"another type in Avro", func(s *table.Table) { s.Columns[2].Base = "bigint" }, "age"},
		{"a narrower integer", func(s *table.Table) { s.Columns[0].Base, s.Columns[0].Type = "integer", "integer" }, ""},
		{"two columns exchanged", func(s *table.Table) { s.Columns[1], s.Columns[9] = s.Columns[9], s.Columns[1] }, ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			reg := &memory{}
			old := users()
			v.change(old)
			framed := encodeBy(t, reg, old)
			r := rawCodec(t, reg, users(), here)
			var arena Arena
			for range 2 {
				var back change.Change
				if err := r.DecodeIn(&arena, framed, &back); err != nil {
					t.Fatal(err)
				}
				if back.Table != r.table || back.Older != (v.absent != "") || back.Pos.LSN != 77 || back.Op != change.Update {
					t.Errorf("%+v", back)
				}
				for i := range r.table.Columns {
					c := &r.table.Columns[i]
					want, key := change.String(sample(c)), change.Absent()
					if c.Name == v.absent {
						want = change.Absent()
					}
					if r.table.IsKey(i) {
						key = want
					}
					if !back.After[i].Equal(want) || !back.Before[i].Equal(key) {
						t.Errorf("column %s came back as %q (kind %d), in the old row as %q", c.Name, back.After[i].Bytes(), back.After[i].Kind(), back.Before[i].Bytes())
					}
				}
			}
			if reg.asked != 1 {
				t.Errorf("the registry was asked %d times", reg.asked)
			}
		})
	}
}

// A record from behind the place at which the catalog was read may be of a newer shape: what it adds must not vanish.
func TestNewerSchemasAreRefused(t *testing.T) {
	newer := users()
	newer.Columns = append(newer.Columns, table.Column{Name: "more", Type: "text", Base: "text", Mod: -1})
	for at, want := range map[uint64]string{76: "start this process again", 77: "", 0: ""} {
		for _, unused := range []bool{false, true} {
			reg := &memory{}
			framed := encodeBy(t, reg, newer) // at 77
			s := here
			s.CatalogAt = at
			s.Unused = func(_ table.Name, column string) bool { return unused && column == "more" }
			var back change.Change
			err := rawCodec(t, reg, users(), s).Decode(framed, &back)
			if refused := want != "" && !unused; (err != nil) != refused || refused && !strings.Contains(fault.HintOf(err), want) {
				t.Errorf("catalog at %d, unused %v: %v", at, unused, err)
			}
		}
	}
}

// What cannot be read for certain is refused, with what to do.
func TestOlderSchemasThatSayNothingOfTheRow(t *testing.T) {
	for name, foreign := range map[string]func(reg *memory) []byte{
		"another key": func(reg *memory) []byte {
			old := users()
			old.Columns[0].Name = "uid"
			return encodeBy(t, reg, old)
		},
		"a key of another type": func(reg *memory) []byte {
			old := users()
			old.Columns[0].Base, old.Columns[0].Type = "text", "text"
			return encodeBy(t, reg, old)
		},
		"another envelope": func(reg *memory) []byte {
			id, _ := reg.ID(t.Context(), "", `{"type":"record","name":"Envelope","fields":[{"name":"before","type":["null",{"type":"record","name":"Value","fields":[]}]}]}`)
			return []byte{0, 0, 0, 0, byte(id), 0}
		},
		"no envelope": func(reg *memory) []byte {
			id, _ := reg.ID(t.Context(), "", `"string"`)
			return []byte{0, 0, 0, 0, byte(id), 0}
		},
	} {
		reg := &memory{}
		framed := foreign(reg)
		r := rawCodec(t, reg, users(), here)
		for range 2 {
			var back change.Change
			err := r.Decode(framed, &back)
			if err == nil || fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" || !strings.Contains(err.Error(), "shop.raw.public.users-value") {
				t.Errorf("%s: not a clear error: %v (%s)", name, err, fault.HintOf(err))
			}
		}
		if reg.asked != 1 {
			t.Errorf("%s: the registry was asked %d times", name, reg.asked)
		}
	}
}

// A registry that is away for a moment does not condemn a schema for good.
func TestUnknownSchemaIsAskedForAgain(t *testing.T) {
	reg := &memory{}
	old := users()
	old.Columns[1].Mod = 204
	framed := encodeBy(t, reg, old)
	r := rawCodec(t, reg, users(), here)
	reg.broken = fault.Transient(errors.New("registry away"))
	var back change.Change
	if err := r.Decode(framed, &back); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatalf("want a transient error: %v", err)
	}
	reg.broken = nil
	if err := r.Decode(framed, &back); err != nil {
		t.Fatal(err)
	}
}

func TestFraming(t *testing.T) {
	r := rawCodec(t, &memory{}, users(), here)
	var back change.Change
	for _, b := range []string{"", "\x00\x00\x00", "\x01\x00\x00\x00\x01\x00", `["json"]`} {
		if err := r.Decode([]byte(b), &back); err == nil || !strings.Contains(err.Error(), "wire format") {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func TestSchemasAreJSON(t *testing.T) {
	if _, err := register(t.Context(), &memory{}, "s", "{"); err == nil {
		t.Error("a schema that is not JSON was registered")
	}
	if sameSchema("{", "{") || sameSchema("{}", "{") {
		t.Error("what is not JSON is a schema")
	}
}

// earlier is a registry that held the schemas before the fields that came later: what it registers first has none of them.
type earlier struct {
	memory
	strip bool
}

func (e *earlier) ID(ctx context.Context, subject, schema string) (int, error) {
	if e.strip {
		schema = withoutLater(schema)
	}
	return e.memory.ID(ctx, subject, schema)
}

// withoutLater is a schema as it was before the fields that came later.
func withoutLater(schema string) string {
	var v any
	if err := json.Unmarshal([]byte(schema), &v); err != nil {
		return ""
	}
	var walk func(v any) any
	walk = func(v any) any {
		switch s := v.(type) {
		case []any:
			var out []any
			for _, x := range s {
				if f, ok := x.(map[string]any); !ok || f[propLater] != true {
					out = append(out, walk(x))
				}
			}
			return out
		case map[string]any:
			for k := range s {
				s[k] = walk(s[k])
			}
		}
		return v
	}
	out, _ := json.Marshal(walk(v))
	return string(out)
}

// Records that were written before stubs and faults were known are read: they end where those fields begin.
func TestRecordsFromBeforeStubsAreRead(t *testing.T) {
	reg := &earlier{strip: true}
	old := rawCodec(t, reg, users(), here)
	c := change.Change{Table: users(), Op: change.Insert, After: make(change.Row, len(users().Columns))}
	for i := range c.After {
		c.After[i] = change.Null()
	}
	framed, err := old.AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	oldMapped, err := NewMapped(t.Context(), reg, "shop.shaped.public.users", users().Name)
	if err != nil {
		t.Fatal(err)
	}
	m := change.Mapped{Source: users().Name, SourceOp: change.Delete, SourceKey: change.Row{change.String("1")}}
	mapped, err := oldMapped.AppendValue(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	reg.strip = false
	now := rawCodec(t, reg, users(), here)
	if now.value.id == old.value.id {
		t.Fatal("the schemas are the same: nothing is shown")
	}
	var back change.Change
	if err := now.Decode(framed[:len(framed)-1], &back); err != nil || back.Op != change.Insert || back.Fault != nil {
		t.Errorf("an older record: %v, %+v", err, back)
	}
	nowMapped, err := NewMapped(t.Context(), reg, "shop.shaped.public.users", users().Name)
	if err != nil {
		t.Fatal(err)
	}
	var backMapped change.Mapped
	if err := nowMapped.Decode(mapped[:len(mapped)-2], &backMapped); err != nil || !sameRow(backMapped.SourceKey, m.SourceKey) || backMapped.Fault != nil {
		t.Errorf("an older mapped record: %v, %+v", err, backMapped)
	}
	// Of the codec's own schema such a record is cut off, and no other.
	own, err := now.AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	if err := now.Decode(own[:len(own)-1], &back); err == nil {
		t.Error("a record that is cut off was read")
	}
}
