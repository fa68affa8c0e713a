package wire

import (
	"testing"

	"segue/pkg/change"
)

// FuzzTexts sends any text through a column of each kind: it comes back byte for byte, whether it is one of the type or not.
func FuzzTexts(f *testing.F) {
	for _, s := range []string{
		"", "0", "-0", "00", "+1", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e23", "9.999999999999999e+22", "1E5", "0x1",
		"NaN", "nan", "Infinity", "-Infinity", "inf", "1.0", "1_000", "t", "f", "true", `\x00ff`, `\xF`, `\\x`, "5e-324", "3.4028235e+38", "1e-45", "\x00", "\xff\xfe",
	} {
		f.Add([]byte(s))
	}
	codec := rawCodec(f, &memory{}, users(), here)
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			text = []byte{} // nil is no text
		}
		width := len(users().Columns)
		in := make(change.Row, width)
		for i := range in {
			in[i] = change.Text(text)
		}
		c := change.Change{Table: users(), Op: change.Insert, Pos: change.Position{Epoch: 1, LSN: 2, Seq: 3}, After: in}
		b, err := codec.AppendValue(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		var out change.Change
		if err := codec.Decode(b, &out); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for i := range in {
			if !out.After[i].Equal(in[i]) {
				t.Errorf("%q through a column of type %s came out as %q", text, users().Columns[i].Type, out.After[i].Bytes())
			}
		}
	})
}
