package pgscan

import (
	"bytes"
	"testing"

	"segue/pkg/change"
)

// copyLine writes a row as COPY does: the oracle of the fuzz targets, kept as plain as it can be.
func copyLine(row change.Row) []byte {
	var b []byte
	for i, v := range row {
		if i > 0 {
			b = append(b, '\t')
		}
		if v.Kind() == change.KindNull {
			b = append(b, `\N`...)
			continue
		}
		for _, c := range v.Bytes() {
			if at := bytes.IndexByte([]byte("\b\f\n\r\t\v\\"), c); at >= 0 {
				b = append(b, '\\', `bfnrtv\`[at])
				continue
			}
			b = append(b, c)
		}
	}
	return append(b, '\n')
}

// FuzzCopyText feeds any bytes to the parser of COPY's text, cut anywhere: the cut changes nothing, and rows that were taken say the same when
// they are written again.
func FuzzCopyText(f *testing.F) {
	for _, s := range []string{"1\ta\n", "\\N\t\\\\N\n", "a\\tb\t\\\\\n2\t\n", "\t\n", "a\tb", "\\", "x\\\ty\n", "\\x41\t\\101\n"} {
		f.Add([]byte(s), uint16(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		parse := func(pieces ...[]byte) ([]change.Row, error) {
			p := &parser{columns: []int{0, 2}, width: 3}
			for _, x := range pieces {
				if _, err := p.Write(bytes.Clone(x)); err != nil {
					return nil, err
				}
			}
			return p.rows, p.end()
		}
		whole, err := parse(b)
		at := int(cut) % (len(b) + 1)
		parts, err2 := parse(b[:at], b[at:])
		if (err == nil) != (err2 == nil) || len(whole) != len(parts) {
			t.Fatalf("whole: %d rows, %v; cut at %d: %d rows, %v", len(whole), err, at, len(parts), err2)
		}
		for i, row := range whole {
			if !row[1].IsAbsent() {
				t.Errorf("row %d has a value for a column that was not read", i)
			}
			again, err := parse(copyLine(change.Row{row[0], row[2]}))
			if err != nil || len(again) != 1 {
				t.Fatalf("row %d written again: %d rows, %v", i, len(again), err)
			}
			for c := range row {
				if !again[0][c].Equal(row[c]) || !parts[i][c].Equal(row[c]) {
					t.Errorf("row %d, column %d: %v, cut: %v, written again: %v", i, c, row[c], parts[i][c], again[0][c])
				}
			}
		}
	})
}

// FuzzTextArray writes any texts as an array of PostgreSQL and reads them back by its rules for quoted elements.
func FuzzTextArray(f *testing.F) {
	f.Add("a", "NULL", false)
	f.Add(`"\`, "", true)
	f.Fuzz(func(t *testing.T, one, two string, null bool) {
		second := change.Text([]byte(two))
		if null {
			second = change.Null()
		}
		b := textArray([]change.Row{{change.Text([]byte(one))}, {second}}, 0)
		got, err := elements(b)
		if err != nil || len(got) != 2 || !got[0].Equal(change.Text([]byte(one))) || !got[1].Equal(second) {
			t.Errorf("%q, %q (null %v) became %q, which reads %v, %v", one, two, null, b, got, err)
		}
	})
}

// elements reads an array as the server does where every element is quoted or NULL.
func elements(b []byte) ([]change.Value, error) {
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' {
		return nil, errFields
	}
	b = b[1 : len(b)-1]
	var out []change.Value
	for len(b) > 0 {
		if rest, ok := bytes.CutPrefix(b, []byte("NULL")); ok {
			out, b = append(out, change.Null()), bytes.TrimPrefix(rest, []byte{','})
			continue
		}
		if b[0] != '"' {
			return nil, errFields
		}
		var text []byte
		i := 1
		for ; i < len(b) && b[i] != '"'; i++ {
			if b[i] == '\\' {
				i++
			}
			text = append(text, b[i])
		}
		out, b = append(out, change.Text(text)), bytes.TrimPrefix(b[i+1:], []byte{','})
	}
	return out, nil
}
