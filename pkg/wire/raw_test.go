package wire

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/table"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What the codec writes is, byte for byte, what goavro writes of the same envelope; and what goavro writes, the codec reads back
// as the change that it was (P1: values arrive as they were).
func TestRawIsWhatGoavroWrites(t *testing.T) {
	r := rawCodec(t, &memory{}, users(), here)
	codec := checker(t, r.Schema())
	rapid.Check(t, func(t *rapid.T) {
		c := drawChange(t, r)
		framed, err := r.AppendValue(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, codec, framed, nativeChange(r, c))
		var back change.Change
		if err := r.Decode(framed, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*c, back) && !sameChange(c, &back) {
			t.Fatalf("came back as another change:\nin  %+v\nout %+v", *c, back)
		}
	})
}

// sameChange compares by Equal: an empty text may be an empty or a nil slice.
func sameChange(a, b *change.Change) bool {
	x, y := *a, *b
	x.Before, x.After, y.Before, y.After = nil, nil, nil, nil
	return reflect.DeepEqual(x, y) && sameRow(a.Before, b.Before) && sameRow(a.After, b.After)
}

func sameRow(a, b change.Row) bool {
	if (a == nil) != (b == nil) || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// A text that is not of the column's type still arrives as it was.
func TestRawCarriesAnyText(t *testing.T) {
	r := rawCodec(t, &memory{}, users(), here)
	codec := checker(t, r.Schema())
	rapid.Check(t, func(t *rapid.T) {
		c := change.Change{Table: r.table, Op: change.Update, Before: make(change.Row, len(r.kinds)), After: make(change.Row, len(r.kinds))}
		for i := range r.kinds {
			c.Before[i] = change.String(rapid.StringMatching(`[-+]?0?[0-9]{0,20}(\.[0-9]*)?|\\x[0-9a-fA-F]*|true|t|f|nan`).Draw(t, "odd"))
			c.After[i] = change.Text(rapid.SliceOf(rapid.Byte()).Draw(t, "any"))
		}
		framed, err := r.AppendValue(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := codec.NativeFromBinary(Body(framed)); err != nil {
			t.Fatalf("goavro cannot read it: %v", err)
		}
		var back change.Change
		if err := r.Decode(framed, &back); err != nil {
			t.Fatal(err)
		}
		if !sameChange(&c, &back) {
			t.Fatalf("came back as another change:\nin  %+v\nout %+v", c, back)
		}
	})
}

func TestRawKeys(t *testing.T) {
	r := rawCodec(t, &memory{}, users(), here)
	codec := checker(t, r.KeySchema())
	rapid.Check(t, func(t *rapid.T) {
		full := make(change.Row, len(r.kinds))
		native := dict{}
		for _, k := range r.table.Key {
			s := text(t, r.kinds[k])
			full[k] = change.String(s)
			v, _ := typed(r.kinds[k], s)
			for _, plain := range v.(map[string]any) {
				native[avroName(r.table.Columns[k].Name)] = plain
			}
		}
		framed, err := r.AppendKey(nil, full)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, codec, framed, native)
	})
}

// A key that is not whole is an error that names the column and shows no value (P10).
func TestRawKeyErrors(t *testing.T) {
	r := rawCodec(t, &memory{}, users(), here)
	for _, bad := range []string{"\x00", "\x01", "secret"} {
		whole := make(change.Row, len(r.kinds))
		whole[0], whole[8] = row(bad)[0], change.String("1")
		out, err := r.AppendKey([]byte("kept"), whole)
		if err == nil || !strings.Contains(err.Error(), "column id") || strings.Contains(err.Error(), "secret") {
			t.Errorf("key %q: %v", bad, err)
		}
		if string(out) != "kept" {
			t.Errorf("key %q: the buffer came back as %q", bad, out)
		}
	}
	keyless := users()
	keyless.Key = nil
	r = rawCodec(t, &memory{}, keyless, here)
	if out, err := r.AppendKey(nil, make(change.Row, len(r.kinds))); err != nil || out != nil || r.KeySchema() != "" {
		t.Errorf("a table without key: %x, %v", out, err)
	}
}

func TestRawRefuses(t *testing.T) {
	r := rawCodec(t, &memory{}, users(), here)
	for name, c := range map[string]change.Change{
		"short before": {Op: change.Delete, Before: row("1")},
		"short after":  {Op: change.Insert, After: row("1")},
		"no operation": {After: make(change.Row, len(r.kinds))},
	} {
		if out, err := r.AppendValue(nil, &c); err == nil || out != nil {
			t.Errorf("%s: encoded as %x", name, out)
		}
	}
}

// The reader's clock fills Debezium's ts_ms and ts_us, and changes nothing of what is decoded.
func TestRawTimes(t *testing.T) {
	s := here
	s.Now = func() time.Time { return time.UnixMicro(1_700_000_000_123_456) }
	r := rawCodec(t, &memory{}, users(), s)
	c := change.Change{Table: r.table, Op: change.Truncate, Cascade: true, Pos: change.Position{Epoch: 1, LSN: 2, Seq: 3}}
	framed, err := r.AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	native, _, err := checker(t, r.Schema()).NativeFromBinary(Body(framed))
	if err != nil {
		t.Fatal(err)
	}
	got := native.(map[string]any)
	if !reflect.DeepEqual(got["ts_ms"], union("long", int64(1_700_000_000_123))) || !reflect.DeepEqual(got["ts_us"], union("long", int64(1_700_000_000_123_456))) {
		t.Errorf("ts_ms %v, ts_us %v", got["ts_ms"], got["ts_us"])
	}
	var back change.Change
	if err := r.Decode(framed, &back); err != nil || !sameChange(&c, &back) {
		t.Errorf("came back as %+v, %v", back, err)
	}
}

// A new version of segue, or another migration's name, writes another source block: it is read all the same.
func TestRawForeignSourceBlock(t *testing.T) {
	reg := &memory{}
	old := here
	old.Version = "0.0.9-a-longer-one"
	c := change.Change{Table: users(), Op: change.Insert, After: make(change.Row, len(users().Columns))}
	framed, err := rawCodec(t, reg, users(), old).AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	var back change.Change
	if err := rawCodec(t, reg, users(), here).Decode(framed, &back); err != nil || !sameChange(&c, &back) {
		t.Errorf("came back as %+v, %v", back, err)
	}
}

// The schemas of one table, as they are published: a change here is a change of the wire format.
func TestRawGolden(t *testing.T) {
	r := rawCodec(t, &memory{}, users(), here)
	if r.Table().Name != users().Name {
		t.Errorf("compiled for %s", r.Table().Name)
	}
	golden(t, "testdata/users-value.avsc", r.Schema())
	golden(t, "testdata/users-key.avsc", r.KeySchema())
	c := change.Change{
		Pos: change.Position{Epoch: 1, LSN: 0x16B3748, Seq: 2}, Tx: change.Tx{XID: 571, Committed: 1_700_000_000_123_456},
		Table: r.table, Op: change.Update, Before: nil,
		After: row("42", "Ada", "36", "170.50", "t", "9.999999999999999e+22", "0.1", `\x00ff`, "7", "\x01"),
	}
	framed, err := r.AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/users-update.hex", hexLines(framed))
}

func hexLines(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for i, c := range b {
		if i > 0 && i%32 == 0 {
			s.WriteByte('\n')
		}
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) // a test's own file
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.TrimSpace(string(want)) {
		t.Errorf("%s: the wire format changed (go test -update writes it anew, if that was meant):\ngot  %s\nwant %s", path, got, want)
	}
}

// Decoding costs an allocation per row and one for printed numbers, with an arena next to none; encoding none.
func TestRawAllocations(t *testing.T) {
	r := rawCodec(t, &memory{}, customers(), here)
	c := customer(r.table)
	buf, err := r.AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { out, _ = r.AppendValue(out[:0], &c) }); n > 0 {
		t.Errorf("encode: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { out, _ = r.AppendKey(out[:0], c.After) }); n > 0 {
		t.Errorf("encode key: %v allocations", n)
	}
	var back change.Change
	if n := testing.AllocsPerRun(100, func() { _ = r.Decode(buf, &back) }); n > 2 {
		t.Errorf("decode: %v allocations", n)
	}
	var a Arena
	if n := testing.AllocsPerRun(1000, func() { _ = r.DecodeIn(&a, buf, &back) }); n > 0 {
		t.Errorf("decode into an arena: %v allocations", n)
	}
}

// customers is the table of the benchmarks: eight columns, about 160 bytes a row.
func customers() *table.Table {
	return &table.Table{
		OID: 16500, Name: table.Name{Schema: "public", Table: "customers"},
		Columns: []table.Column{
			{Name: "id", Type: "bigint", Base: "bigint", OID: 20, Mod: -1},
			{Name: "email", Type: "text", Base: "text", OID: 25, Mod: -1},
			{Name: "full_name", Type: "text", Base: "text", OID: 25, Mod: -1},
			{Name: "phone", Type: "text", Base: "text", OID: 25, Mod: -1},
			{Name: "country", Type: "character(2)", Base: "character", OID: 1042, Mod: 6},
			{Name: "balance", Type: "numeric(12,2)", Base: "numeric", OID: 1700, Mod: 786438},
			{Name: "active", Type: "boolean", Base: "boolean", OID: 16, Mod: -1},
			{Name: "created_at", Type: "timestamp with time zone", Base: "timestamp with time zone", OID: 1184, Mod: -1},
		},
		Key: []int{0}, Identity: table.IdentityDefault,
	}
}

func customer(t *table.Table) change.Change {
	return change.Change{
		Pos: change.Position{Epoch: 1, LSN: 0x16B3748, Seq: 2}, Tx: change.Tx{XID: 571, Committed: 1_700_000_000_123_456},
		Table: t, Op: change.Insert,
		After: row("1234567", "ada.lovelace.1234567@example.invalid", "Augusta Ada King, Countess of Lovelace", "+44 20 7946 0123 ext. 4567",
			"GB", "12345.67", "t", "2024-02-29 12:34:56.789012+00"),
	}
}

func BenchmarkRawEncode(b *testing.B) {
	r := rawCodec(b, &memory{}, customers(), here)
	c := customer(r.table)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = r.AppendValue(buf[:0], &c)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkRawKey(b *testing.B) {
	r := rawCodec(b, &memory{}, customers(), here)
	c := customer(r.table)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = r.AppendKey(buf[:0], c.After)
		Partition(Body(buf), 8)
	}
}

func BenchmarkRawDecode(b *testing.B) {
	r := rawCodec(b, &memory{}, customers(), here)
	c := customer(r.table)
	buf, err := r.AppendValue(nil, &c)
	if err != nil {
		b.Fatal(err)
	}
	var back change.Change
	b.Run("once", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = r.Decode(buf, &back)
		}
		b.SetBytes(int64(len(buf)))
	})
	b.Run("arena", func(b *testing.B) {
		var a Arena
		b.ReportAllocs()
		for b.Loop() {
			_ = r.DecodeIn(&a, buf, &back)
		}
		b.SetBytes(int64(len(buf)))
	})
}
