package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/linkedin/goavro/v2"
	"pgregory.net/rapid"

	"segue/pkg/change"
)

// The oracle builds goavro's generic form of what a codec writes, by other means than the codec: through maps and
// package strconv. The bytes that goavro makes of it must be the codec's, both libraries then read the same.

type dict = map[string]any

func union(branch string, v any) any { return goavro.Union(branch, v) }

// sameBytes holds a framed record equal to what goavro makes of the generic form, and lets goavro read it.
func sameBytes(t *rapid.T, codec *goavro.Codec, framed []byte, native any) {
	t.Helper()
	want, err := codec.BinaryFromNative(nil, native)
	if err != nil {
		t.Fatalf("goavro cannot encode the expected form: %v", err)
	}
	if !bytes.Equal(Body(framed), want) {
		t.Fatalf("not goavro's bytes:\nours   %x\ngoavro %x", Body(framed), want)
	}
	back, rest, err := codec.NativeFromBinary(Body(framed))
	if err != nil || len(rest) > 0 {
		t.Fatalf("goavro cannot read it: %v, %d bytes left", err, len(rest))
	}
	again, err := codec.BinaryFromNative(nil, back)
	if err != nil || !bytes.Equal(again, want) {
		t.Fatalf("goavro reads something else: %v", err)
	}
}

// typed is a column's value as goavro wants it, and whether its text needs to travel beside it.
func typed(k kind, text string) (any, bool) {
	switch k {
	case kindBool:
		return union("boolean", text == "t"), false
	case kindInt:
		n, err := strconv.ParseInt(text, 10, 32)
		must(err)
		return union("int", int32(n)), false
	case kindLong:
		n, err := strconv.ParseInt(text, 10, 64)
		must(err)
		return union("long", n), false
	case kindFloat:
		f, err := strconv.ParseFloat(text, 32)
		must(err)
		return union("float", float32(f)), string(appendFloat(nil, f, 32)) != text
	case kindDouble:
		f, err := strconv.ParseFloat(text, 64)
		must(err)
		return union("double", f), string(appendFloat(nil, f, 64)) != text
	case kindBytes:
		b, err := hex.DecodeString(text[2:])
		must(err)
		return union("bytes", b), false
	case kindString:
	}
	return union("string", text), false
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// nativeRow is a row in goavro's form, its absent columns, and the texts that the typed form does not give back.
func nativeRow(r *Raw, which string, row change.Row) (value any, absent, texts []any) {
	if row == nil {
		return nil, nil, nil
	}
	fields := dict{}
	for i, v := range row {
		name := avroName(r.table.Columns[i].Name)
		fields[name] = nil
		switch v.Kind() {
		case change.KindAbsent:
			absent = append(absent, i)
		case change.KindText:
			text := string(v.Bytes())
			var beside bool
			if fields[name], beside = typed(r.kinds[i], text); beside {
				texts = append(texts, dict{"row": which, "field": i, "text": text})
			}
		case change.KindNull:
		}
	}
	return union("shop.public.users.Value", fields), absent, texts
}

func nativeChange(r *Raw, c *change.Change) dict {
	before, absentBefore, textsBefore := nativeRow(r, "before", c.Before)
	after, absentAfter, textsAfter := nativeRow(r, "after", c.After)
	snapshot := "false"
	var tx any
	if c.Op == change.Read {
		snapshot = "incremental"
	} else {
		tx = union("segue.raw.Transaction", dict{
			"id":          fmt.Sprintf("%d:%d", c.Tx.XID, c.Pos.LSN),
			"total_order": int64(c.Pos.Seq), "data_collection_order": nil,
		})
	}
	return dict{
		"before": before, "after": after,
		"source": dict{
			"version": here.Version, "connector": "segue", "name": here.Migration, "server_version": here.ServerVersion,
			"db": here.DB, "schema": r.table.Name.Schema, "table": r.table.Name.Table, "snapshot": snapshot,
			"ts_ms": c.Tx.Committed / 1000, "ts_us": c.Tx.Committed,
			"txId": union("long", int64(c.Tx.XID)), "lsn": union("long", int64(c.Pos.LSN)),
		},
		"transaction": tx, "op": string(rune(c.Op)), "ts_ms": nil, "ts_us": nil,
		"segue": dict{
			"epoch": int64(c.Pos.Epoch), "seq": int64(c.Pos.Seq),
			"absent_before": list(absentBefore), "absent_after": list(absentAfter),
			"texts": list(append(textsBefore, textsAfter...)), "cascade": c.Cascade, "restart_identity": c.RestartIdentity,
			"stub": nativeFault("segue.raw.Stub", c.Fault, false),
		},
	}
}

func nativeFault(name string, f *change.Fault, staged bool) any {
	if f == nil {
		return nil
	}
	fields := dict{"code": f.Code, "text": f.Text, "size": f.Size}
	if staged {
		fields["stage"] = f.Stage
	}
	return union(name, fields)
}

// list makes an empty list of a missing one: goavro wants it there.
func list(items []any) []any {
	if items == nil {
		return []any{}
	}
	return items
}

func nativeValues(row change.Row) []any {
	out := []any{}
	for _, v := range row {
		switch v.Kind() {
		case change.KindNull:
			out = append(out, nil)
		case change.KindText:
			out = append(out, union("string", string(v.Bytes())))
		case change.KindAbsent:
			out = append(out, union("segue.mapped.Absent", "absent"))
		}
	}
	return out
}

func nativeOptional(row change.Row) any {
	if row == nil {
		return nil
	}
	return union("array", nativeValues(row))
}

func nativePosition(p change.Position) dict {
	return dict{"epoch": int64(p.Epoch), "lsn": int64(p.LSN), "seq": int64(p.Seq)}
}

func nativeMapped(c *change.Mapped) dict {
	ops := []any{}
	for _, o := range c.Ops {
		ops = append(ops, dict{
			"target": o.Target, "op": string(rune(o.Op)), "key": nativeOptional(o.Key), "row": nativeOptional(o.Row),
			"cascade": o.Cascade, "restart_identity": o.RestartIdentity,
		})
	}
	return dict{
		"position": nativePosition(c.Pos), "xid": int64(c.Tx.XID), "committed": c.Tx.Committed,
		"schema": c.Source.Schema, "table": c.Source.Table, "op": string(rune(c.SourceOp)), "ops": ops,
		"want": nativeOptional(c.Want), "source_key": nativeOptional(c.SourceKey), "old_key": nativeOptional(c.OldKey),
		"fault": nativeFault("segue.mapped.Fault", c.Fault, true),
	}
}
