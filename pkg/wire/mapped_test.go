package wire

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/change"
)

func TestMappedIsWhatGoavroWrites(t *testing.T) {
	m := mappedCodec(t)
	codec, keys := checker(t, m.Schema()), checker(t, m.KeySchema())
	rapid.Check(t, func(t *rapid.T) {
		c := drawMapped(t)
		framed, err := m.AppendValue(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, codec, framed, nativeMapped(c))
		var back change.Mapped
		if err := m.Decode(framed, &back); err != nil {
			t.Fatal(err)
		}
		if !sameMapped(c, &back) {
			t.Fatalf("came back as another change:\nin  %+v\nout %+v", *c, back)
		}
		key, err := m.AppendKey(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if c.SourceKey == nil {
			if key != nil {
				t.Fatalf("a key out of nothing: %x", key)
			}
			return
		}
		sameBytes(t, keys, key, dict{"values": nativeValues(c.SourceKey)})
	})
}

func sameMapped(a, b *change.Mapped) bool {
	x, y := *a, *b
	x.Ops, x.Want, x.SourceKey, y.Ops, y.Want, y.SourceKey = nil, nil, nil, nil, nil, nil
	x.OldKey, y.OldKey = nil, nil
	if !reflect.DeepEqual(x, y) || len(a.Ops) != len(b.Ops) || !sameRow(a.Want, b.Want) || !sameRow(a.SourceKey, b.SourceKey) ||
		!sameRow(a.OldKey, b.OldKey) {
		return false
	}
	for i := range a.Ops {
		o, p := a.Ops[i], b.Ops[i]
		if !sameRow(o.Key, p.Key) || !sameRow(o.Row, p.Row) {
			return false
		}
		o.Key, o.Row, p.Key, p.Row = nil, nil, nil, nil
		if !reflect.DeepEqual(o, p) {
			return false
		}
	}
	return true
}

func TestMappedRefuses(t *testing.T) {
	m := mappedCodec(t)
	for name, c := range map[string]change.Mapped{
		"no source operation": {Ops: []change.RowOp{{Op: change.Insert}}},
		"no operation":        {SourceOp: change.Insert, Ops: []change.RowOp{{Op: change.Insert}, {}}},
	} {
		if out, err := m.AppendValue([]byte("kept"), &c); err == nil || string(out) != "kept" {
			t.Errorf("%s: encoded as %x", name, out)
		}
	}
}

// The texts of a decoded row are cut from the record itself.
func TestMappedIsZeroCopy(t *testing.T) {
	m := mappedCodec(t)
	c := mappedCustomer()
	buf, err := m.AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	var a Arena
	var back change.Mapped
	if n := testing.AllocsPerRun(1000, func() { _ = m.DecodeIn(&a, buf, &back) }); n > 1 {
		t.Errorf("decode into an arena: %v allocations", n)
	}
	out := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { out, _ = m.AppendValue(out[:0], &c) }); n > 0 {
		t.Errorf("encode: %v allocations", n)
	}
	text := back.Ops[0].Row[1].Bytes()
	for i := range buf {
		buf[i] = 0
	}
	if text[0] != 0 {
		t.Error("the text was copied")
	}
}

func mappedCustomer() change.Mapped {
	c := customer(customers())
	return change.Mapped{
		Pos: c.Pos, Tx: c.Tx, Source: users().Name, SourceOp: c.Op,
		Ops: []change.RowOp{{Op: change.Insert, Row: c.After}}, SourceKey: c.After[:1],
	}
}

func BenchmarkMappedEncode(b *testing.B) {
	m := mappedCodec(b)
	c := mappedCustomer()
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = m.AppendValue(buf[:0], &c)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkMappedDecode(b *testing.B) {
	m := mappedCodec(b)
	c := mappedCustomer()
	buf, err := m.AppendValue(nil, &c)
	if err != nil {
		b.Fatal(err)
	}
	var a Arena
	var back change.Mapped
	b.ReportAllocs()
	for b.Loop() {
		_ = m.DecodeIn(&a, buf, &back)
	}
	b.SetBytes(int64(len(buf)))
}
