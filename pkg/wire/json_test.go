package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/table"
)

func jsonCodec(t testing.TB, shape *table.Table, s Source) *RawJSON {
	t.Helper()
	r, err := NewRawJSON("shop.raw.public.users", shape, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// strange is users with names and types that JSON and Connect could stumble over.
func strange() *table.Table {
	shape := users()
	shape.Columns[1].Name = "na\"me\\ \n<b>"
	shape.Columns[2].Base, shape.Columns[2].Type = "integer", "integer"
	shape.Columns = append(shape.Columns, table.Column{Name: "x\u2028", Type: "real", Base: "real"})
	return shape
}

// What the JSON form carries is, value for value, what the Avro form carries (P1); and every record fits the schema that it brings along, as
// Connect's converter would read both.
func TestJSONIsWhatAvroIs(t *testing.T) {
	for _, shape := range []*table.Table{users(), strange()} {
		r, avro := jsonCodec(t, shape, here), rawCodec(t, &memory{}, shape, here)
		rapid.Check(t, func(t *rapid.T) {
			c := drawChange(t, avro)
			c.Table = shape
			text, framed := encodeBoth(t, r, avro, c)
			conforms(t, text)
			var back, other change.Change
			if err := r.Decode(text, &back); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if err := avro.Decode(framed, &other); err != nil {
				t.Fatal(err)
			}
			if !sameChange(c, &back) || !sameChange(&other, &back) {
				t.Fatalf("came back as another change:\nin  %+v\nout %+v\n%s", *c, back, text)
			}
		})
	}
}

type fataler interface{ Fatalf(string, ...any) }

func encodeBoth(t fataler, r *RawJSON, avro *Raw, c *change.Change) (text, framed []byte) {
	text, err := r.AppendValue(nil, c)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if framed, err = avro.AppendValue(nil, c); err != nil {
		t.Fatalf("%v", err)
	}
	return text, framed
}

// A text that is not of the column's type, or not UTF-8, still arrives as it was.
func TestJSONCarriesAnyText(t *testing.T) {
	r := jsonCodec(t, strange(), here)
	rapid.Check(t, func(t *rapid.T) {
		c := change.Change{Table: r.table, Op: change.Update, Before: make(change.Row, len(r.columns)), After: make(change.Row, len(r.columns))}
		for i := range r.columns {
			c.Before[i] = change.String(rapid.StringMatching(`[-+]?0?[0-9]{0,20}(\.[0-9]*)?(e[-+]?[0-9]{0,3})?|\\x[0-9a-fA-F]*|true|t|f|NaN|-?Infinity|-?1e999|nan|null`).Draw(t, "odd"))
			c.After[i] = change.Text(rapid.SliceOf(rapid.Byte()).Draw(t, "any"))
		}
		text, err := r.AppendValue(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		conforms(t, text)
		var back change.Change
		if err := r.Decode(text, &back); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !sameChange(&c, &back) {
			t.Fatalf("came back as another change:\nin  %+v\nout %+v", c, back)
		}
	})
}

// conforms reads a record as Connect's JsonConverter does: the payload by the schema beside it.
func conforms(t fataler, text []byte) {
	var record struct {
		Schema  connectSchema
		Payload any
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&record); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	if err := fits(&record.Schema, record.Payload); err != nil {
		t.Fatalf("the payload is not of its schema: %v\n%s", err, text)
	}
}

func fits(s *connectSchema, v any) error {
	if v == nil {
		if !s.Optional {
			return fmt.Errorf("%s: null", s.Field)
		}
		return nil
	}
	ok := false
	switch s.Type {
	case "struct":
		return structFits(s, v)
	case "array":
		items, is := v.([]any)
		for _, item := range items {
			if err := fits(s.Items, item); err != nil {
				return err
			}
		}
		ok = is
	case "boolean":
		_, ok = v.(bool)
	case "string":
		_, ok = v.(string)
	case "bytes":
		text, is := v.(string)
		_, err := base64.StdEncoding.DecodeString(text)
		ok = is && err == nil
	case "int16", "int32", "int64":
		bits, _ := strconv.Atoi(s.Type[3:])
		n, is := v.(json.Number)
		_, err := strconv.ParseInt(string(n), 10, bits)
		ok = is && err == nil
	case "float", "double":
		_, ok = v.(json.Number)
	}
	if !ok {
		return fmt.Errorf("%s: %v is no %s", s.Field, v, s.Type)
	}
	return nil
}

func structFits(s *connectSchema, v any) error {
	object, ok := v.(map[string]any)
	if !ok || len(object) != len(s.Fields) {
		return fmt.Errorf("%s: %d fields, the schema has %d", s.Field, len(object), len(s.Fields))
	}
	for i := range s.Fields {
		value, ok := object[s.Fields[i].Field]
		if !ok {
			return fmt.Errorf("%s has no %s", s.Field, s.Fields[i].Field)
		}
		if err := fits(&s.Fields[i], value); err != nil {
			return err
		}
	}
	return nil
}

// Another writer may set white space, order members otherwise and escape more: the change is the same.
func TestJSONReadsAnyOrder(t *testing.T) {
	r, avro := jsonCodec(t, users(), here), rawCodec(t, &memory{}, users(), here)
	rapid.Check(t, func(t *rapid.T) {
		c := drawChange(t, avro)
		text, _ := encodeBoth(t, r, avro, c)
		var again any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&again); err != nil {
			t.Fatal(err)
		}
		indented, err := json.MarshalIndent(again, " ", "\t") // sorted by name
		if err != nil {
			t.Fatal(err)
		}
		var back change.Change
		if err := r.Decode(append(indented, '\n'), &back); err != nil || !sameChange(c, &back) {
			t.Fatalf("%v\nin  %+v\nout %+v\n%s", err, *c, back, indented)
		}
	})
}

// Keys name their columns and hold values that fit their schema; the lane follows from the payload alone.
func TestJSONKeys(t *testing.T) {
	r := jsonCodec(t, users(), here)
	elsewhere := jsonCodec(t, users(), Source{Migration: "another-name", Version: "9"})
	rapid.Check(t, func(t *rapid.T) {
		full := make(change.Row, len(r.columns))
		for _, k := range r.table.Key {
			full[k] = change.String(text(t, kindOf(&r.table.Columns[k])))
		}
		key, err := r.AppendKey(nil, full)
		if err != nil {
			t.Fatal(err)
		}
		conforms(t, key)
		payload := fmt.Sprintf(`{"region":%s,"id":%s}`, full[8].Bytes(), full[0].Bytes())
		if want := r.KeySchema(); string(key) != `{"schema":`+want+`,"payload":`+payload+"}" {
			t.Fatalf("the key is %s", key)
		}
		if lane := r.Lane(key, 7); lane != Partition([]byte(payload), 7) {
			t.Fatalf("lane %d", lane)
		}
		other, err := elsewhere.AppendKey(nil, full)
		if err != nil || elsewhere.Lane(other, 7) != r.Lane(key, 7) {
			t.Fatalf("another schema moves the key: %v", err)
		}
	})
}

// A key that is not whole is an error that names the column and shows no value (P10). What JSON has no form for is null, which other
// readers refuse in a field that is not optional; it moves no other key.
func TestJSONKeyErrors(t *testing.T) {
	shape := users()
	shape.Key = []int{0, 1, 5}
	r := jsonCodec(t, shape, here)
	whole := func(id, name, score string) change.Row {
		return row(id, name, "1", "1", "t", score, "1", `\x`, "1", "")
	}
	for name, row := range map[string]change.Row{
		"id": whole("\x00", "a", "1"), "id ": whole("\x01", "a", "1"), "id  ": whole("secret", "a", "1"),
		"name": whole("1", "\x00", "1"), "score": whole("1", "a", "secret"),
	} {
		out, err := r.AppendKey([]byte("kept"), row)
		if err == nil || !strings.Contains(err.Error(), "column "+strings.TrimSpace(name)+":") || strings.Contains(err.Error(), "secret") {
			t.Errorf("key without %s: %v", name, err)
		}
		if string(out) != "kept" {
			t.Errorf("key without %s: the buffer came back as %q", name, out)
		}
	}
	key, err := r.AppendKey(nil, whole("1", "secret\xff", "NaN"))
	if payload := `{"id":1,"name":null,"score":null}`; err != nil || !strings.HasSuffix(string(key), `"payload":`+payload+"}") || r.Lane(key, 5) != Partition([]byte(payload), 5) {
		t.Errorf("a key without a form: %s, %v", key, err)
	}
	shape.Key = nil
	if out, err := jsonCodec(t, shape, here).AppendKey(nil, whole("1", "a", "1")); err != nil || out != nil {
		t.Errorf("a table without key: %s, %v", out, err)
	}
}

func TestJSONRefusesToWrite(t *testing.T) {
	r := jsonCodec(t, users(), here)
	for name, c := range map[string]change.Change{
		"short before": {Op: change.Delete, Before: row("1")},
		"short after":  {Op: change.Insert, After: row("1")},
		"no operation": {After: make(change.Row, len(r.columns))},
	} {
		if out, err := r.AppendValue(nil, &c); err == nil || out != nil {
			t.Errorf("%s: encoded as %s", name, out)
		}
	}
	broken := users()
	broken.Columns[1].Name = "\xff"
	if _, err := NewRawJSON("t", broken, here); err == nil {
		t.Error("a column whose name is not UTF-8 passes")
	}
}

// sampleJSON is an update with everything in it, with the text forms that the strictness test changes.
func sampleJSON(t testing.TB, r *RawJSON) (change.Change, string) {
	t.Helper()
	c := change.Change{
		Table: r.table, Op: change.Update, Pos: change.Position{Epoch: 1, LSN: 1 << 63, Seq: 2}, Tx: change.Tx{XID: 3, Committed: 4},
		Before: row("42", "\x01", "\x01", "\x01", "t", "1.50", "NaN", "\\x", "2", "\x00"),
		After:  row("42", "A\nda", "36", "170.50", "t", "Infinity", "0.1", `\x00ff`, "7", "t\xffg"),
	}
	text, err := r.AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	return c, string(text)
}

// What does not say for certain what it means is refused, never guessed.
func TestJSONIsStrict(t *testing.T) {
	r := jsonCodec(t, users(), here)
	_, good := sampleJSON(t, r)
	if err := r.Decode([]byte(good), new(change.Change)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, old, new string }{
		{"a member is missing", `"age":36,`, ``},
		{"a member twice", `"age":36,`, `"age":36,"age":36,`},
		{"an unknown member", `"age":36,`, `"age":36,"aged":36,`},
		{"a name in another case", `"age":36,`, `"Age":36,`},
		{"a number with a fraction", `"age":36,`, `"age":36.0,`},
		{"a number with an exponent", `"age":36,`, `"age":3e1,`},
		{"a number in quotes", `"age":36,`, `"age":"36",`},
		{"a number with a zero before it", `"age":36,`, `"age":036,`},
		{"a number out of range", `"age":36,`, `"age":40000,`},
		{"true for a number", `"age":36,`, `"age":true,`},
		{"a float in quotes", `"ratio":0.1`, `"ratio":"0.1"`},
		{"NaN", `"ratio":0.1`, `"ratio":NaN`},
		{"a float that begins with a point", `"ratio":0.1`, `"ratio":.1`},
		{"a string for a boolean", `"active":true`, `"active":"true"`},
		{"a word that is none", `"active":true`, `"active":truth`},
		{"bytes that are not base64", `"AP8="`, `"AP8"`},
		{"bytes with bits left over", `"AP8="`, `"AP9="`},
		{"bytes with a line break", `"AP8="`, `"AP8=\n"`},
		{"bytes with an end inside", `"AP8="`, `"AP8=AP8="`},
		{"an invalid string", `A\nda`, "A\xffda"},
		{"an invalid string with an escape", `A\nda`, "A\\n\xffda"},
		{"a control character", `A\nda`, "A\nda"},
		{"a control character behind an escape", `A\nda`, "A\\n\nda"},
		{"half a surrogate pair", `A\nda`, `A\ud800da`},
		{"half a surrogate pair at the end", `A\nda`, `A\ud800`},
		{"the other half", `A\nda`, `A\udc00da`},
		{"an unknown escape", `A\nda`, `A\qda`},
		{"a short escape", `A\nda`, `A\u00`},
		{"no operation", `"op":"u"`, `"op":"x"`},
		{"null for an operation", `"op":"u"`, `"op":null`},
		{"an absent column with a value", `"absent_after":[]`, `"absent_after":[2]`},
		{"an absent column that there is not", `"absent_before":[1`, `"absent_before":[10`},
		{"an absent column below range", `"absent_before":[1`, `"absent_before":[-1`},
		{"a text for a column with a value", `"field":9`, `"field":2`},
		{"a text for an absent column", `"row":"before","field":6`, `"row":"before","field":1`},
		{"a text for no column", `"field":9`, `"field":10`},
		{"a text of no row", `"row":"after"`, `"row":"later"`},
		{"a text in two ways", `"text":"NaN","bytes":null`, `"text":"NaN","bytes":""`},
		{"a text in no way", `"text":"NaN"`, `"text":null`},
		{"a position out of range", `"epoch":1`, `"epoch":4294967296`},
		{"a transaction out of range", `"txId":3`, `"txId":-1`},
		{"a comma too many", `"stub":null}`, `"stub":null,}`},
		{"a comma in a list", `"absent_after":[]`, `"absent_after":[,]`},
		{"a list that does not end", `"absent_after":[]`, `"absent_after":[`},
		{"a row that is a list", `"before":{`, `"before":[`},
		{"another column in the schema", `"field":"age"`, `"field":"ages"`},
		{"another type in the schema", `"type":"int16"`, `"type":"int32"`},
		{"another base type in the schema", `"pg.base":"numeric"`, `"pg.base":"text"`},
		{"a schema that is none", `{"schema":{`, `{"schema":[],"x":{`},
		{"no payload", `"payload":`, `"payloads":`},
		{"something in front", `{"schema"`, `x{"schema"`},
		{"something behind", `"stub":null}}}`, `"stub":null}}}}`},
		{"a payload that is null", good[strings.Index(good, `"payload":`):], `"payload":null}`},
		{"depth without end", `"before":{`, `"before":` + strings.Repeat("[", 100_000)},
	} {
		if bad := strings.Replace(good, tt.old, tt.new, 1); bad == good {
			t.Errorf("%s: %s is not in the sample:\n%s", tt.what, tt.old, good)
		} else if err := r.Decode([]byte(bad), new(change.Change)); err == nil {
			t.Errorf("%s: passes:\n%s", tt.what, bad)
		}
		// The slower way in, of records that are not as segue writes them, is as strict.
		bad := " " + strings.Replace(good, tt.old, tt.new, 1)
		if err := r.Decode([]byte(bad), new(change.Change)); err == nil {
			t.Errorf("%s, and a space: passes", tt.what)
		}
	}
	for n := range len(good) {
		if r.Decode([]byte(good[:n]), new(change.Change)) == nil {
			t.Errorf("%d bytes of %d pass for a record", n, len(good))
		}
	}
	if r.Decode(nil, new(change.Change)) == nil {
		t.Error("a tombstone passes for a record")
	}
}

// What an update leaves out and the row before it holds (identity full) is unchanged: other tools find it in after, segue takes it for
// absent, and for nothing else.
func TestJSONUnchanged(t *testing.T) {
	r := jsonCodec(t, users(), here)
	c := change.Change{
		Table: r.table, Op: change.Update,
		Before: row("42", "a long one", "\x00", "1", "t", "NaN", "1", `\x`, "2", "{a}"),
		After:  row("42", "\x01", "\x01", "2", "t", "\x01", "1", `\x`, "2", "\x01"),
	}
	text := string(must1(r.AppendValue(nil, &c)))
	conforms(t, []byte(text))
	if !strings.Contains(text, `"after":{"id":42,"name":"a long one","age":null,"größe in cm":"2","active":true,"score":null,"ratio":1,"photo":"","region":2,"tags":"{a}"}`) {
		t.Errorf("after is not what other tools need:\n%s", text)
	}
	var back change.Change
	if err := r.Decode([]byte(text), &back); err != nil || !sameChange(&c, &back) {
		t.Errorf("came back as %+v, %v", back, err)
	}
	at := strings.LastIndex(text, "a long one")
	if err := r.Decode([]byte(text[:at]+"another"+text[at+len("a long one"):]), &back); err == nil {
		t.Error("an absent column with another value than before passes")
	}
}

// A schema that differs in what is only for people still says the same; one verdict each is kept, of a bounded number.
func TestJSONOtherSchemas(t *testing.T) {
	r := jsonCodec(t, users(), here)
	want, good := sampleJSON(t, r)
	for i := range maxKnown * 2 {
		other := strings.ReplaceAll(good, `"pg.type":"numeric(5,2)"`, fmt.Sprintf(`"pg.type":"numeric(%d,2)"`, i))
		var back change.Change
		if err := r.Decode([]byte(other), &back); err != nil || !sameChange(&want, &back) {
			t.Fatalf("%v: %+v", err, back)
		}
	}
	if len(r.known) != maxKnown {
		t.Errorf("%d schemas are remembered", len(r.known))
	}
}

// A new version of segue, or another database's name, writes another source block: it is read all the same. The reader's clock
// fills Debezium's ts_ms and ts_us, and changes nothing of what is decoded.
func TestJSONSourceBlock(t *testing.T) {
	old := here
	old.Version, old.DB = "0.0.9-\"longer\"", "lägacy"
	old.Now = func() time.Time { return time.UnixMicro(1_700_000_000_123_456) }
	writer := jsonCodec(t, users(), old)
	want, text := sampleJSON(t, writer)
	if !strings.Contains(text, `,"ts_ms":1700000000123,"ts_us":1700000000123456,"segue"`) {
		t.Errorf("the time is not in %s", text)
	}
	var back change.Change
	if err := jsonCodec(t, users(), here).Decode([]byte(text), &back); err != nil || !sameChange(&want, &back) {
		t.Errorf("came back as %+v, %v", back, err)
	}
}

// The records of one table, as they are published: a change here is a change of the wire format.
func TestJSONGolden(t *testing.T) {
	r := jsonCodec(t, users(), here)
	if r.Table().Name != users().Name {
		t.Errorf("compiled for %s", r.Table().Name)
	}
	golden(t, "testdata/users-value.connect.json", r.Schema())
	golden(t, "testdata/users-key.connect.json", r.KeySchema())
	_, text := sampleJSON(t, r)
	golden(t, "testdata/users-update.json", strings.TrimPrefix(text, `{"schema":`+r.Schema()+`,`))
}

// Decoding allocates what the lists need and little else; encoding nothing.
func TestJSONAllocations(t *testing.T) {
	r := jsonCodec(t, customers(), here)
	c := customer(r.table)
	buf, err := r.AppendValue(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 0, 8192)
	if n := testing.AllocsPerRun(100, func() { out, _ = r.AppendValue(out[:0], &c) }); n > 0 {
		t.Errorf("encode: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { out, _ = r.AppendKey(out[:0], c.After) }); n > 0 {
		t.Errorf("encode key: %v allocations", n)
	}
	var back change.Change
	var a Arena
	if n := testing.AllocsPerRun(1000, func() { _ = r.DecodeIn(&a, buf, &back) }); n > 0 {
		t.Errorf("decode into an arena: %v allocations", n)
	}
}

// Texts of all bytes that a JSON string may hold or must escape come back.
func TestJSONStrings(t *testing.T) {
	var all strings.Builder
	for r := range rune(0x3000) {
		if r < 0xd800 {
			all.WriteRune(r)
		}
	}
	all.WriteString("\u2028\u2029\ufeff\uffff\U0001F600\U0010FFFF")
	quoted, ok := appendJSONString(nil, []byte(all.String()))
	if !ok || !json.Valid(quoted) {
		t.Fatal("not JSON")
	}
	for _, text := range [][]byte{quoted, must1(json.Marshal(all.String()))} {
		c := jsonCursor{b: text, a: &Arena{}}
		if got := c.string(); c.done() != nil || string(got) != all.String() {
			t.Errorf("came back otherwise: %v", c.err)
		}
	}
	c := jsonCursor{b: []byte(`"\"\\\/\b\f\n\r\t\u0041\u00e9\uD83D\ude00"`), a: &Arena{}}
	if got := c.string(); c.done() != nil || string(got) != "\"\\/\b\f\n\r\tA\u00e9\U0001F600" {
		t.Errorf("escapes: %q, %v", got, c.err)
	}
}

// Floats travel as PostgreSQL prints them: JSON numbers, but for NaN.
func TestJSONFloats(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "-0": "-0", "1e+23": "1e+23", "9.999999999999999e+22": "9.999999999999999e+22", "1e-05": "1e-05", "170.5": "170.5",
		"Infinity": "1e999", "-Infinity": "-1e999", "NaN": "", "1e999": "", "": "", "-": "", "1.": "", "01": "", "+1": "", "1e": "", "0x1p-2": "",
		strings.Repeat("1", maxJSONNumber+1): "",
	} {
		got, ok := jsonDouble.append(nil, []byte(text))
		if string(got) != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "double"))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return
		}
		got, ok := jsonDouble.append(nil, appendFloat(nil, f, 64))
		var back float64
		if err := json.Unmarshal(got, &back); !ok || err != nil || math.Float64bits(back) != math.Float64bits(f) {
			t.Fatalf("%v: %s, %v", f, got, err)
		}
	})
}

// Whatever the bytes: an error, or a change that comes back the same when it is encoded again; never a panic.
func FuzzJSON(f *testing.F) {
	r := jsonCodec(f, strange(), here)
	_, text := sampleJSON(f, jsonCodec(f, users(), here))
	f.Add([]byte(text))
	c := change.Change{Op: change.Read, Table: r.table, After: row("42", "A\"\\", "36", "170.50", "t", "NaN", "-Infinity", `\x00ff`, "7", "\xff", "-0")}
	f.Add(must1(r.AppendValue(nil, &c)))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, whole := range [][]byte{text, append(append(slices.Clone(r.value.text), text...), '}')} {
			var c, c2 change.Change
			if r.Decode(whole, &c) != nil {
				continue
			}
			if !json.Valid(whole) {
				t.Fatalf("taken, and not JSON: %q", whole)
			}
			c.Older = false // that is the record's, which is written anew
			again, err := r.AppendValue(nil, &c)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Decode(again, &c2); err != nil || !sameChange(&c, &c2) {
				t.Fatalf("%v\n%+v\n%+v", err, c, c2)
			}
		}
	})
}

// The schema block is most of a record, so it costs bytes, but next to no time: it is copied, and compared at once.
func BenchmarkJSONEncode(b *testing.B) {
	r := jsonCodec(b, customers(), here)
	c := customer(r.table)
	buf := make([]byte, 0, 8192)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = r.AppendValue(buf[:0], &c)
	}
	b.SetBytes(int64(len(buf)))
	b.ReportMetric(float64(len(r.value.text)), "schema-bytes")
}

func BenchmarkJSONKey(b *testing.B) {
	r := jsonCodec(b, customers(), here)
	c := customer(r.table)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = r.AppendKey(buf[:0], c.After)
		r.Lane(buf, 8)
	}
}

func BenchmarkJSONDecode(b *testing.B) {
	r := jsonCodec(b, customers(), here)
	c := customer(r.table)
	buf, err := r.AppendValue(nil, &c)
	if err != nil {
		b.Fatal(err)
	}
	var back change.Change
	var a Arena
	b.ReportAllocs()
	for b.Loop() {
		_ = r.DecodeIn(&a, buf, &back)
	}
	b.SetBytes(int64(len(buf)))
}
