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

// encodeBy encodes a row of nulls by the codec of another shape of the table, in the same registry.
func encodeBy(t *testing.T, reg Registry, shape *table.Table) []byte {
	t.Helper()
	c := change.Change{Table: shape, Op: change.Insert, After: make(change.Row, len(shape.Columns))}
	for i := range c.After {
		c.After[i] = change.Null()
	}
	framed, err := rawCodec(t, reg, shape, here).AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	return framed
}

// Records of an older schema version are read where the columns are the same, and refused, with what to do, where they
// are not: never read as something else.
func TestOlderSchemas(t *testing.T) {
	for _, v := range []struct {
		name   string
		change func(*table.Table)
		ok     bool
	}{
		{"a longer varchar", func(s *table.Table) {
			s.Columns[1].Type, s.Columns[1].Mod = "character varying(200)", 204
		}, true},
		{"a domain dropped", func(s *table.Table) { s.Columns[8].Type = "integer" }, true},
		{"a column more", func(s *table.Table) {
			s.Columns = append(s.Columns, table.Column{Name: "more", Type: "text", Base: "text"})
		}, false},
		{"a column less", func(s *table.Table) { s.Columns = s.Columns[:9] }, false},
		{"a renamed column", func(s *table.Table) { s.Columns[1].Name = "nickname" }, false},
		{"another type, the same in Avro", func(s *table.Table) { s.Columns[1].Base = "numeric" }, false},
		{"another type in Avro", func(s *table.Table) { s.Columns[2].Base = "bigint" }, false},
		{"two columns exchanged", func(s *table.Table) { s.Columns[1], s.Columns[9] = s.Columns[9], s.Columns[1] }, false},
	} {
		t.Run(v.name, func(t *testing.T) {
			reg := &memory{}
			old := users()
			v.change(old)
			framed := encodeBy(t, reg, old)
			r := rawCodec(t, reg, users(), here)
			for range 2 {
				var back change.Change
				err := r.Decode(framed, &back)
				if (err == nil) != v.ok {
					t.Fatalf("decode: %v", err)
				}
				if err != nil && (fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" || !strings.Contains(err.Error(), "shop.raw.public.users-value")) {
					t.Errorf("not a clear error: %v (%s)", err, fault.HintOf(err))
				}
			}
			if reg.asked != 1 {
				t.Errorf("the registry was asked %d times", reg.asked)
			}
		})
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
