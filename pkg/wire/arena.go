package wire

import "segue/pkg/change"

// Arena is memory that decoded rows are cut from, so that decoding many records costs few allocations. What was cut stays
// valid for good; a piece of memory is free again when none of the rows cut from it are held any more. The zero
// Arena is ready for use. It is for one goroutine.
type Arena struct {
	values []change.Value
	text   []byte
	once   bool // allocate what is asked for and nothing ahead
}

// The sizes of the pieces that an arena allocates ahead.
const (
	arenaValues = 512
	arenaText   = 4096
)

// row returns a row of n absent values.
func (a *Arena) row(n int) change.Row {
	if n > len(a.values) {
		size := n
		if !a.once {
			size = max(n, arenaValues)
		}
		a.values = make([]change.Value, size)
	}
	r := a.values[:n:n]
	a.values = a.values[n:]
	return r
}

// reserve makes room for n bytes of text: until they are used up, appends to a.text do not move it.
func (a *Arena) reserve(n int) {
	if n <= cap(a.text)-len(a.text) {
		return
	}
	if !a.once {
		n = max(n, arenaText)
	}
	a.text = make([]byte, 0, n)
}

// since cuts what was appended to a.text from start on.
func (a *Arena) since(start int) change.Value {
	return change.Text(a.text[start:len(a.text):len(a.text)])
}
