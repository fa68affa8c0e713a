package pgsource

import (
	"encoding/binary"
	"testing"

	"segue/pkg/table"
)

// shapeOf is a table of three columns, the second one generated, that the seeds below describe.
func shapeOf(oid uint32) *table.Table {
	return &table.Table{
		OID: oid, Name: table.Name{Schema: "s", Table: "t"}, Key: []int{0}, Identity: table.IdentityDefault,
		Columns: []table.Column{{Name: "id", OID: 23, Mod: -1}, {Name: "g", OID: 23, Mod: -1, Generated: true}, {Name: "v", OID: 25, Mod: -1}},
	}
}

func message(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// Whatever a server sends, in whatever order, an event or an error comes of it, and rows have their table's columns.
func FuzzEvents(f *testing.F) {
	relation := []byte("R\x00\x00\x00\x07s\x00t\x00d\x00\x02\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff\x00v\x00\x00\x00\x00\x19\xff\xff\xff\xff")
	insert := []byte("I\x00\x00\x00\x07N\x00\x02t\x00\x00\x00\x011n")
	update := []byte("U\x00\x00\x00\x07K\x00\x02t\x00\x00\x00\x011nN\x00\x02t\x00\x00\x00\x012u")
	remove := []byte("D\x00\x00\x00\x07O\x00\x02t\x00\x00\x00\x011n")
	truncate := []byte("T\x00\x00\x00\x02\x03\x00\x00\x00\x07\x00\x00\x00\x08")
	var all []byte
	for _, m := range [][]byte{relation, insert, update, remove, truncate} {
		f.Add(message(m))
		all = append(all, message(m)...)
	}
	f.Add(all)
	for i := range 20 {
		f.Add(append(message(relation), message(anyMessage().Example(i))...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Stream{relations: newRelations([]*table.Table{shapeOf(7)})}
		for len(b) >= 2 {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			e, err := s.event(append([]byte{'w'}, b[2:2+n]...))
			b = b[2+n:]
			if err != nil {
				return
			}
			for _, row := range []int{len(e.Change.Before), len(e.Change.After)} {
				if row != 0 && row != 3 {
					t.Fatalf("a row of %d values for three columns: %+v", row, e)
				}
			}
		}
	})
}

func TestEventsOfOneRow(t *testing.T) {
	s := &Stream{relations: newRelations([]*table.Table{shapeOf(7)})}
	for _, step := range []struct {
		message string
		kind    Kind
	}{
		{"R\x00\x00\x00\x07s\x00t\x00d\x00\x02\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff\x00v\x00\x00\x00\x00\x19\xff\xff\xff\xff", 0},
		{"I\x00\x00\x00\x07N\x00\x02t\x00\x00\x00\x011n", KindChange},
		{"U\x00\x00\x00\x07K\x00\x02t\x00\x00\x00\x011nN\x00\x02u" + "u", KindChange},
	} {
		e, err := s.event(append([]byte{'w'}, step.message...))
		if err != nil || e.Kind != step.kind {
			t.Fatalf("%q: %+v, %v", step.message, e, err)
		}
		if step.message[0] == 'U' {
			// The key lay in TOAST and stays: it is filled in, and there is no old row.
			if e.Change.Before != nil || string(e.Change.After[0].Bytes()) != "1" || !e.Change.After[2].IsAbsent() {
				t.Errorf("%+v", e.Change)
			}
		}
	}
}
