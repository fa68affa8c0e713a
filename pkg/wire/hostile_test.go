package wire

import (
	"reflect"
	"testing"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/request"
)

// decoders are all ways in for bytes from outside, each with records to start from.
func decoders(t testing.TB) []func([]byte) error {
	t.Helper()
	raw, mapped, fronts, reqs := rawCodec(t, &memory{}, users(), here), mappedCodec(t), frontiers(t), requests(t)
	return []func([]byte) error{
		func(b []byte) error { return raw.Decode(b, new(change.Change)) },
		func(b []byte) error { return mapped.Decode(b, new(change.Mapped)) },
		func(b []byte) error { _, err := fronts.DecodeFrontier(b); return err },
		func(b []byte) error { _, err := reqs.DecodeRequest(b); return err },
	}
}

// samples holds one record for each of the decoders.
func samples(t testing.TB) [][]byte {
	t.Helper()
	c := change.Change{
		Table: users(), Op: change.Update, Pos: change.Position{Epoch: 1, LSN: 1 << 63, Seq: 2}, Tx: change.Tx{XID: 3, Committed: 4},
		Before: row("42", "\x01", "\x01", "\x01", "t", "1.50", "1e5", "\\x", "2", "\x00"),
		After:  row("42", "Ada", "36", "170.50", "t", "9.999999999999999e+22", "0.1", `\x00ff`, "7", "\x01"),
	}
	raw, err := rawCodec(t, &memory{}, users(), here).AppendValue(nil, &c)
	must(err)
	mapped, err := mappedCodec(t).AppendValue(nil, &change.Mapped{
		SourceOp: change.Update, Source: users().Name, SourceKey: row("1"), Want: row("1", "\x01"),
		Ops: []change.RowOp{{Target: 3, Op: change.Delete, Key: row("7", "x")}, {Op: change.Update, Row: c.After}},
	})
	must(err)
	front, err := frontiers(t).EncodeFrontier(frontier.Record{Frontier: &frontier.Frontier{
		Lanes: []frontier.LaneEnd{{Lane: frontier.Lane{Table: "public.users", Partition: 3}, End: 9, Count: 2, Total: 9}},
		Loads: []frontier.Load{{Table: users().Name, Leaf: users().Name, Blocks: 7, Done: []frontier.Range{{From: 0, To: 3}}}},
		Marks: []frontier.Mark{{ID: "m", Kind: "snapshot", At: c.Pos}},
	}})
	must(err)
	req, err := requests(t).EncodeRequest(request.Request{ID: "1", Kind: request.Keys, Table: users().Name, Keys: []change.Row{row("1", "\x00")}, By: "applier"})
	must(err)
	return [][]byte{raw, mapped, front, req}
}

// A record that is cut short anywhere, or has bytes behind its end, is an error of every decoder: half a record is never taken
// for a whole one.
func TestTruncated(t *testing.T) {
	all := samples(t)
	for i, decode := range decoders(t) {
		whole := all[i]
		if err := decode(whole); err != nil {
			t.Fatalf("decoder %d: %v", i, err)
		}
		for n := range whole {
			if decode(whole[:n:n]) == nil {
				t.Errorf("decoder %d: %d bytes of %d pass for a record", i, n, len(whole))
			}
		}
		if decode(append(whole[:len(whole):len(whole)], 0)) == nil {
			t.Errorf("decoder %d: a byte too many passes", i)
		}
	}
}

// A record that promises more than it holds is refused before memory is taken for it.
func TestPromises(t *testing.T) {
	huge := []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01} // 2^63-1
	for i, whole := range samples(t) {
		decode := decoders(t)[i]
		for at := FramingSize; at < len(whole); at++ {
			b := append(append(whole[:at:at], huge...), whole[at+1:]...)
			if n := testing.AllocsPerRun(1, func() { _ = decode(b) }); n > 100 {
				t.Errorf("decoder %d, byte %d: %v allocations", i, at, n)
			}
		}
	}
}

// Other writers may cut arrays into blocks, with or without their sizes.
func TestBlocks(t *testing.T) {
	b := []byte{2, 2, 2, 'a', 3, 8, 0, 2, 2, 'b', 0} // one item; then minus two, of four bytes; the end
	c := cursor{b: b}
	var a Arena
	if got := decodeValues(&c, &a); c.done() != nil || !sameRow(got, row("a", "\x00", "b")) {
		t.Errorf("%+v, %v", got, c.err)
	}
	c = cursor{b: b}
	if got := decodeList(&c, decodeValue); c.done() != nil || !sameRow(got, row("a", "\x00", "b")) {
		t.Errorf("%+v, %v", got, c.err)
	}
	c = cursor{b: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0}} // the smallest number has no opposite
	if c.block(); c.err == nil {
		t.Error("a block of minus 2^63 items passes")
	}
}

// Lists that contradict the rows are refused: an absent column has no value, a text has a column.
func TestContradictions(t *testing.T) {
	r := rawCodec(t, &memory{}, users(), here)
	for name, c := range map[string]cursor{
		"absent with a value": {b: []byte{2, 0, 0}},
		"absent out of range": {b: []byte{2, 40, 0}},
		"absent below range":  {b: []byte{2, 1, 0}},
	} {
		full := make(change.Row, len(r.kinds))
		for i := range full {
			full[i] = change.String("1")
		}
		if decodeAbsent(&c, full); c.err == nil {
			t.Errorf("%s: passes", name)
		}
	}
	for name, b := range map[string][]byte{"no such row": {0, 0, 2, 'x'}, "no such column": {2, 40, 2, 'x'}, "absent": {2, 2, 2, 'x'}} {
		c := cursor{b: b}
		into := change.Change{After: row("1", "\x01")}
		if decodeText(&c, &into); c.err == nil {
			t.Errorf("text for %s: passes", name)
		}
	}
}

// Whatever the bytes: an error, or a record that comes back the same when it is encoded again; never a panic.
func FuzzDecode(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s[FramingSize:])
	}
	raw, mapped, fronts, reqs := rawCodec(f, &memory{}, users(), here), mappedCodec(f), frontiers(f), requests(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		framed := append([]byte{0, 0, 0, 0, 1}, body...)
		again := func(b []byte, err error) []byte {
			t.Helper()
			if err != nil {
				t.Fatalf("what was decoded cannot be encoded: %v", err)
			}
			return b
		}
		var c, c2 change.Change
		if raw.Decode(framed, &c) == nil {
			if err := raw.Decode(again(raw.AppendValue(nil, &c)), &c2); err != nil || !sameChange(&c, &c2) {
				t.Fatalf("raw: %v\n%+v\n%+v", err, c, c2)
			}
		}
		var m, m2 change.Mapped
		if mapped.Decode(framed, &m) == nil {
			if err := mapped.Decode(again(mapped.AppendValue(nil, &m)), &m2); err != nil || !sameMapped(&m, &m2) {
				t.Fatalf("mapped: %v\n%+v\n%+v", err, m, m2)
			}
		}
		if r, err := fronts.DecodeFrontier(framed); err == nil {
			if r2, err := fronts.DecodeFrontier(again(fronts.EncodeFrontier(r))); err != nil || !reflect.DeepEqual(r, r2) {
				t.Fatalf("frontier: %v\n%+v\n%+v", err, r, r2)
			}
		}
		if r, err := reqs.DecodeRequest(framed); err == nil {
			if b := again(reqs.EncodeRequest(r)); string(b) != string(again(reqs.EncodeRequest(must1(reqs.DecodeRequest(b))))) {
				t.Fatalf("request: %+v", r)
			}
		}
	})
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}
