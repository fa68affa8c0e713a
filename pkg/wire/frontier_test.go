package wire

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/table"
)

func frontiers(t testing.TB) *Frontiers {
	t.Helper()
	f, err := NewFrontiers(t.Context(), &memory{}, "shop.reader.frontier")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFrontierIsWhatGoavroWrites(t *testing.T) {
	f := frontiers(t)
	codec := checker(t, f.value.text)
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		framed, err := f.EncodeFrontier(r)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, codec, framed, nativeRecord(r))
		back, err := f.DecodeFrontier(framed)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(r, back) {
			t.Fatalf("came back as another record:\nin  %+v\nout %+v", r, back)
		}
	})
}

func TestFrontierWantsOneOfTwo(t *testing.T) {
	f := frontiers(t)
	for _, r := range []frontier.Record{{}, {Claim: &frontier.Claim{}, Frontier: &frontier.Frontier{}}} {
		if out, err := f.EncodeFrontier(r); err == nil {
			t.Errorf("encoded as %x", out)
		}
	}
}

func drawRecord(t *rapid.T) frontier.Record {
	name, long := rapid.String(), rapid.Int64()
	if rapid.Bool().Draw(t, "claim") {
		return frontier.Record{Claim: &frontier.Claim{
			Stage: name.Draw(t, "stage"), Owner: name.Draw(t, "owner"), Fingerprint: name.Draw(t, "fingerprint"),
			Upstream: long.Draw(t, "upstream"), Written: long.Draw(t, "written"),
		}}
	}
	f := &frontier.Frontier{
		Incarnation: long.Draw(t, "incarnation"), Prev: position(t), At: position(t),
		Full: rapid.Bool().Draw(t, "full"), Boundary: rapid.Bool().Draw(t, "boundary"),
		Confirm: rapid.Uint64().Draw(t, "confirm"), Requests: long.Draw(t, "requests"), Loaded: rapid.Bool().Draw(t, "loaded"),
		Committed: long.Draw(t, "committed"), Written: long.Draw(t, "written"),
		Source: rapid.String().Draw(t, "source"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "lanes") {
		f.Lanes = append(f.Lanes, frontier.LaneEnd{
			Lane: frontier.Lane{Table: rapid.SampledFrom([]string{"a.b", "a.c", ""}).Draw(t, "table"), Partition: rapid.Int32().Draw(t, "partition")},
			End:  long.Draw(t, "end"), Count: long.Draw(t, "count"), Total: long.Draw(t, "total"),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "loads") {
		f.Loads = append(f.Loads, drawLoad(t))
	}
	for range rapid.IntRange(0, 2).Draw(t, "marks") {
		f.Marks = append(f.Marks, frontier.Mark{ID: name.Draw(t, "id"), Kind: name.Draw(t, "kind"), At: position(t)})
	}
	return frontier.Record{Frontier: f}
}

func drawLoad(t *rapid.T) frontier.Load {
	block := rapid.Uint32()
	l := frontier.Load{
		Table: drawName(t), Leaf: drawName(t),
		Filenode: block.Draw(t, "filenode"), Blocks: block.Draw(t, "blocks"), Complete: rapid.Bool().Draw(t, "complete"), Shape: rapid.String().Draw(t, "shape"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "ranges") {
		l.Done = append(l.Done, frontier.Range{From: block.Draw(t, "from"), To: block.Draw(t, "to")})
	}
	return l
}

func nativeRecord(r frontier.Record) dict {
	if c := r.Claim; c != nil {
		return dict{"record": union("segue.frontier.Claim", dict{
			"stage": c.Stage, "owner": c.Owner, "fingerprint": c.Fingerprint, "upstream": c.Upstream, "written": c.Written,
		})}
	}
	f := r.Frontier
	lanes, loads, marks := []any{}, []any{}, []any{}
	for _, l := range f.Lanes {
		lanes = append(lanes, dict{"table": l.Lane.Table, "partition": l.Lane.Partition, "end": l.End, "count": l.Count, "total": l.Total})
	}
	for _, l := range f.Loads {
		done := []any{}
		for _, r := range l.Done {
			done = append(done, dict{"from": int64(r.From), "to": int64(r.To)})
		}
		loads = append(loads, dict{
			"table": nativeName(l.Table), "leaf": nativeName(l.Leaf), "filenode": int64(l.Filenode),
			"blocks": int64(l.Blocks), "done": done, "complete": l.Complete, "shape": l.Shape,
		})
	}
	for _, m := range f.Marks {
		marks = append(marks, dict{"id": m.ID, "kind": m.Kind, "at": nativePosition(m.At)})
	}
	return dict{"record": union("segue.frontier.Frontier", dict{
		"incarnation": f.Incarnation, "prev": nativePosition(f.Prev), "at": nativePosition(f.At), "lanes": lanes,
		"full": f.Full, "boundary": f.Boundary, "confirm": int64(f.Confirm), "requests": f.Requests, // the bits are meant
		"loads": loads, "loaded": f.Loaded, "marks": marks, "committed": f.Committed, "written": f.Written,
		"source": f.Source,
	})}
}

func nativeName(n table.Name) dict { return dict{"schema": n.Schema, "table": n.Table} }

// wide is a full frontier of 50 tables with 8 partitions each.
func wide() frontier.Record {
	f := &frontier.Frontier{Incarnation: 7, At: change.Position{Epoch: 1, LSN: 1 << 40, Seq: 3}, Full: true, Boundary: true}
	for i := range 400 {
		f.Lanes = append(f.Lanes, frontier.LaneEnd{
			Lane: frontier.Lane{Table: fmt.Sprintf("public.table_%d", i/8), Partition: int32(i % 8)}, // below 8
			End:  1 << 30, Count: 100, Total: 1 << 30,
		})
	}
	return frontier.Record{Frontier: f}
}

func BenchmarkFrontierEncode(b *testing.B) {
	f, r := frontiers(b), wide()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.EncodeFrontier(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFrontierDecode(b *testing.B) {
	f := frontiers(b)
	buf, err := f.EncodeFrontier(wide())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.DecodeFrontier(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}
