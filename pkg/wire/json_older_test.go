package wire

import (
	"reflect"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// Records of an older shape of the table are read in JSON as they are in Avro: by the schema that they bring along, or not at all.
func TestJSONOlderSchemas(t *testing.T) {
	for name, alter := range map[string]func(*table.Table){
		"the same":          func(*table.Table) {},
		"a longer varchar":  func(s *table.Table) { s.Columns[1].Type, s.Columns[1].Mod = "character varying(200)", 204 },
		"a shorter varchar": func(s *table.Table) { s.Columns[1].Type, s.Columns[1].Mod = "character varying(20)", 24 },
		"a domain dropped":  func(s *table.Table) { s.Columns[8].Type = "integer" },
		"a column less":     func(s *table.Table) { s.Columns = s.Columns[:9] },
		"a column more": func(s *table.Table) {
			s.Columns = append(s.Columns, table.Column{Name: "m", Type: "text", Base: "text", Mod: -1})
		},
		"a renamed column":         func(s *table.Table) { s.Columns[1].Name = "nickname" },
		"another type as a string": func(s *table.Table) { s.Columns[1].Base, s.Columns[1].Mod = "numeric", -1 },
		"another type":             func(s *table.Table) { s.Columns[2].Base = "bigint" },
		"a narrower scale":         func(s *table.Table) { s.Columns[3].Mod = 327685 },
		"a narrower integer":       func(s *table.Table) { s.Columns[0].Base, s.Columns[0].Type = "integer", "integer" },
		"two columns exchanged":    func(s *table.Table) { s.Columns[1], s.Columns[9] = s.Columns[9], s.Columns[1] },
		"another key":              func(s *table.Table) { s.Columns[0].Name = "uid" },
		"a key of another type":    func(s *table.Table) { s.Columns[0].Base, s.Columns[0].Type = "text", "text" },
	} {
		t.Run(name, func(t *testing.T) {
			old, reg := users(), &memory{}
			alter(old)
			c := change.Change{Pos: change.Position{Epoch: 1, LSN: 77, Seq: 2}, Op: change.Update, Table: old, After: make(change.Row, len(old.Columns))}
			for i := range old.Columns {
				c.After[i] = change.String(sample(&old.Columns[i]))
			}
			c.Before = append(change.Row(nil), c.After...)
			c.After[len(c.After)-1] = change.Absent() // and unchanged
			text, framed := encodeBoth(t, jsonCodec(t, old, here), rawCodec(t, reg, old, here), &c)
			r, avro := jsonCodec(t, users(), here), rawCodec(t, reg, users(), here)
			for range 2 {
				var back, want change.Change
				err, wantErr := r.Decode(text, &back), avro.Decode(framed, &want)
				want.Table = back.Table
				if (err == nil) != (wantErr == nil) || !sameChange(&want, &back) {
					t.Errorf("in JSON %v: %+v\nin Avro %v: %+v", err, back, wantErr, want)
				}
				if err != nil && (fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "--new-history")) {
					t.Errorf("refused without a way on: %v, %s", err, fault.HintOf(err))
				}
			}
		})
	}
}

// What a schema says of a column is what its table said, as far as reading its records goes.
func TestConnectColumns(t *testing.T) {
	shape := users()
	got, err := connectColumns([]byte(jsonCodec(t, shape, here).Schema()), []byte(jsonCodec(t, shape, here).Schema()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		want := table.Column{Name: shape.Columns[i].Name, Type: shape.Columns[i].Type, Base: shape.Columns[i].Base, Mod: shape.Columns[i].Mod}
		if i == 8 {
			want.Type = "integer" // of a domain over what Connect has a type for, the name is not told
		}
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("%+v, want %+v", got[i], want)
		}
	}
	own := jsonCodec(t, shape, here).Schema()
	for what, other := range map[string]string{
		"nothing":                 `{}`,
		"another envelope":        strings.Replace(own, `"field":"cascade"`, `"field":"cascades"`, 1),
		"rows that differ":        strings.Replace(own, `"field":"age"`, `"field":"ages"`, 1),
		"an unknown type":         strings.ReplaceAll(own, `"type":"int16"`, `"type":"int8"`),
		"no base type":            strings.ReplaceAll(own, `"pg.base":"numeric"`, `"pg.bass":"numeric"`),
		"a base of another":       strings.ReplaceAll(own, `"pg.base":"numeric"`, `"pg.base":"bigint"`),
		"a modifier that is none": strings.ReplaceAll(own, `"pg.modifier":"84"`, `"pg.modifier":"x"`),
	} {
		if other == own {
			t.Errorf("%s: nothing to change", what)
		} else if _, err := connectColumns([]byte(other), []byte(own)); err == nil {
			t.Errorf("%s: passes", what)
		}
	}
}
