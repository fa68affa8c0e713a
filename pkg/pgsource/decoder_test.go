package pgsource

import (
	"testing"

	"github.com/jackc/pglogrepl"
	"pgregory.net/rapid"

	"segue/pkg/change"
)

// What pglogrepl's parser makes of a message is what the decoder makes of it.
func TestDecoderAgreesWithPglogrepl(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyMessage().Draw(t, "message")
		want, err := pglogrepl.Parse(b)
		if err != nil {
			t.Fatalf("pglogrepl: %v", err)
		}
		var d Decoder
		var m Decoded
		if err := d.Decode(b, &m); err != nil {
			t.Fatal(err)
		}
		compare(t, want, &m)
	})
}

func compare(t *rapid.T, want pglogrepl.Message, m *Decoded) {
	ok := false
	switch w := want.(type) {
	case *pglogrepl.BeginMessage:
		ok = m.Type == 'B' && m.Begin == Begin{FinalLSN: uint64(w.FinalLSN), CommitTime: w.CommitTime.UnixMicro(), XID: w.Xid}
	case *pglogrepl.CommitMessage:
		ok = m.Type == 'C' && m.Commit == Commit{CommitLSN: uint64(w.CommitLSN), EndLSN: uint64(w.TransactionEndLSN), CommitTime: w.CommitTime.UnixMicro()}
	case *pglogrepl.OriginMessage:
		ok = m.Type == 'O' && m.Origin == Origin{LSN: uint64(w.CommitLSN), Name: w.Name}
	case *pglogrepl.RelationMessage:
		ok = m.Type == 'R' && sameRelation(w, &m.Relation)
	case *pglogrepl.TypeMessage:
		ok = m.Type == 'Y' && m.TypeName == Type{OID: w.DataType, Schema: w.Namespace, Name: w.Name}
	case *pglogrepl.InsertMessage:
		ok = m.Type == 'I' && m.Row.RelationOID == w.RelationID && m.Row.OldKind == 0 && sameTuple(w.Tuple, m.Row.New) && m.Row.Old == nil
	case *pglogrepl.UpdateMessage:
		ok = m.Type == 'U' && m.Row.RelationOID == w.RelationID && m.Row.OldKind == w.OldTupleType && sameTuple(w.OldTuple, m.Row.Old) && sameTuple(w.NewTuple, m.Row.New)
	case *pglogrepl.DeleteMessage:
		ok = m.Type == 'D' && m.Row.RelationOID == w.RelationID && m.Row.OldKind == w.OldTupleType && sameTuple(w.OldTuple, m.Row.Old) && m.Row.New == nil
	case *pglogrepl.TruncateMessage:
		ok = m.Type == 'T' && sameTruncate(w, &m.Truncate)
	case *pglogrepl.LogicalDecodingMessage:
		ok = m.Type == 'M' && m.Message.Transactional == w.Transactional && m.Message.LSN == uint64(w.LSN) && m.Message.Prefix == w.Prefix && string(m.Message.Content) == string(w.Content)
	}
	if !ok {
		t.Fatalf("pglogrepl: %+v\ndecoder: %+v", want, m)
	}
}

func sameRelation(w *pglogrepl.RelationMessage, r *Relation) bool {
	schema := w.Namespace
	if schema == "" {
		schema = "pg_catalog"
	}
	if r.OID != w.RelationID || r.Schema != schema || r.Table != w.RelationName || r.Identity != w.ReplicaIdentity || len(r.Columns) != len(w.Columns) {
		return false
	}
	for i, c := range w.Columns {
		if r.Columns[i] != (RelationColumn{Name: c.Name, OID: c.DataType, Mod: c.TypeModifier, Key: c.Flags == 1}) {
			return false
		}
	}
	return true
}

func sameTruncate(w *pglogrepl.TruncateMessage, m *TruncateMessage) bool {
	if m.Cascade != (w.Option&1 != 0) || m.RestartIdentity != (w.Option&2 != 0) || len(m.RelationOIDs) != len(w.RelationIDs) {
		return false
	}
	for i := range w.RelationIDs {
		if w.RelationIDs[i] != m.RelationOIDs[i] {
			return false
		}
	}
	return true
}

func sameTuple(w *pglogrepl.TupleData, row change.Row) bool {
	if w == nil {
		return row == nil
	}
	if len(row) != len(w.Columns) {
		return false
	}
	for i, c := range w.Columns {
		var v change.Value
		switch c.DataType {
		case 't':
			v = change.Text(c.Data)
		case 'n':
			v = change.Null()
		}
		if !row[i].Equal(v) {
			return false
		}
	}
	return true
}

// A message that lost its end, or got one byte more, is refused.
func TestDecoderRefusesOtherLengths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyMessage().Draw(t, "message")
		var d Decoder
		var m Decoded
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if err := d.Decode(b[:cut], &m); err == nil {
			t.Fatalf("%d of %d bytes of %q were taken for a message", cut, len(b), b[0])
		}
		if err := d.Decode(append(b, 0), &m); err == nil {
			t.Fatalf("%q with a byte too many was taken", b[0])
		}
	})
}

func TestDecoderRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                    {},
		"a type of version 2":        {'S', 0, 0, 0, 1, 1},
		"a binary value":             {'I', 0, 0, 0, 1, 'N', 0, 1, 'b', 0, 0, 0, 0},
		"a huge text":                {'I', 0, 0, 0, 1, 'N', 0, 1, 't', 0xff, 0xff, 0xff, 0xff},
		"a huge tuple":               {'I', 0, 0, 0, 1, 'N', 0xff, 0xff, 'n'},
		"a huge truncate":            {'T', 0xff, 0xff, 0xff, 0xff, 0},
		"a huge relation":            {'R', 0, 0, 0, 1, 0, 0, 'd', 0xff, 0xff},
		"a huge message":             {'M', 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff},
		"an insert with an old row":  {'I', 0, 0, 0, 1, 'K', 0, 1, 'n', 'N', 0, 1, 'n'},
		"a delete with a new row":    {'D', 0, 0, 0, 1, 'N', 0, 1, 'n'},
		"an update without new row":  {'U', 0, 0, 0, 1, 'K', 0, 1, 'n'},
		"an update with two old":     {'U', 0, 0, 0, 1, 'K', 0, 1, 'n', 'O', 0, 1, 'n'},
		"a prefix without an end":    {'M', 1, 0, 0, 0, 0, 0, 0, 0, 1, 'x'},
		"an origin without a name":   {'O', 0, 0, 0, 0, 0, 0, 0, 1},
		"a name that never ends":     {'R', 0, 0, 0, 1, 'p', 'u', 'b'},
		"a tuple of another letter":  {'U', 0, 0, 0, 1, 'X', 0, 0},
		"a value of another letter":  {'D', 0, 0, 0, 1, 'K', 0, 1, 'x'},
		"a begin without its number": append([]byte{'B'}, make([]byte, 16)...),
	} {
		var d Decoder
		var m Decoded
		if err := d.Decode(b, &m); err == nil {
			t.Errorf("%s was taken: %+v", name, m)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for i := range 40 {
		f.Add(anyMessage().Example(i))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decoder
		var m Decoded
		if err := d.Decode(b, &m); err != nil {
			return
		}
		// What was taken holds no more than the message did.
		if m.Row.Old.Size()+m.Row.New.Size() > 33*len(b) {
			t.Errorf("%d bytes became %d", len(b), m.Row.Old.Size()+m.Row.New.Size())
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	msg := benchMessage()
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	var d Decoder
	var m Decoded
	for b.Loop() {
		if err := d.Decode(msg, &m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// A table may have no columns at all.
func TestDecoderTakesAnEmptyRow(t *testing.T) {
	var d Decoder
	var m Decoded
	if err := d.Decode([]byte{'I', 0, 0, 0, 1, 'N', 0, 0}, &m); err != nil || m.Row.New == nil || len(m.Row.New) != 0 {
		t.Errorf("%+v, %v", m.Row, err)
	}
}
