package change

import "bytes"

// Kind tells the three things apart that a column may be in a row.
type Kind uint8

// The kinds. The zero value is Absent: what nobody set is not NULL.
const (
	KindAbsent Kind = iota // the source did not send it: unchanged TOAST, or not part of a key tuple
	KindNull
	KindText
)

// Value is one column's value: absent, NULL, or PostgreSQL's text for it under the pinned session settings.
type Value struct {
	text []byte
	kind Kind
}

// Null is SQL's NULL.
func Null() Value { return Value{kind: KindNull} }

// Absent is a value that the source did not send.
func Absent() Value { return Value{} }

// Text is a value in PostgreSQL's text form. The bytes are not copied: who makes a Value owns them until the batch
// that holds it is done.
func Text(b []byte) Value { return Value{text: b, kind: KindText} }

// String is Text of a string.
func String(s string) Value { return Value{text: []byte(s), kind: KindText} }

// Kind says which of the three it is.
func (v Value) Kind() Kind { return v.kind }

// IsAbsent says that the source did not send the value.
func (v Value) IsAbsent() bool { return v.kind == KindAbsent }

// IsNull says that the value is NULL.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Bytes is the text of a KindText value, nil for the others.
func (v Value) Bytes() []byte { return v.text }

// Equal says whether two values are of the same kind and text.
func (v Value) Equal(w Value) bool { return v.kind == w.kind && bytes.Equal(v.text, w.text) }

// Row holds one value per column, in the order of the table (source rows) or of the Target (mapped rows). A nil Row:
// there is none.
type Row []Value

// Whole says that no value is absent.
func (r Row) Whole() bool {
	for i := range r {
		if r[i].kind == KindAbsent {
			return false
		}
	}
	return true
}

// Size is about how many bytes of memory the row holds.
func (r Row) Size() int {
	n := 32 * len(r)
	for i := range r {
		n += len(r[i].text)
	}
	return n
}

// AppendKey adds a form of the columns at the given ordinals that is equal for two rows exactly if the values are.
func (r Row) AppendKey(b []byte, ordinals []int) []byte {
	for _, i := range ordinals {
		b = appendValue(b, r[i])
	}
	return b
}

func appendValue(b []byte, v Value) []byte {
	if v.kind != KindText {
		return append(b, byte(v.kind))
	}
	n := len(v.text)
	b = append(b, byte(KindText), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	return append(b, v.text...)
}

// Texts turns a row without absent values, such as a key, into the texts that PostgreSQL takes for text[]; nil is NULL.
func (r Row) Texts() []*string {
	out := make([]*string, len(r))
	for i, v := range r {
		if v.kind == KindText {
			s := string(v.text)
			out[i] = &s
		}
	}
	return out
}

// RowOf is the way back from Texts.
func RowOf(texts []*string) Row {
	out := make(Row, len(texts))
	for i, s := range texts {
		out[i] = Null()
		if s != nil {
			out[i] = String(*s)
		}
	}
	return out
}
