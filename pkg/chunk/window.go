package chunk

import (
	"segue/pkg/change"
	"segue/pkg/table"
)

// Window collects the stream's changes of one table between a chunk's watermarks, in stream order, up to a number of bytes.
type Window struct {
	table   *table.Table
	limit   int
	size    int
	over    bool
	changes []*change.Change
}

// NewWindow opens a window as the low watermark passes.
func NewWindow(t *table.Table, limit int) *Window { return &Window{table: t, limit: limit} }

// Add takes a change of the window's table. The window keeps it: its bytes must stay as they are until the window is dropped.
func (w *Window) Add(c *change.Change) {
	if w.over {
		return
	}
	w.size += c.Before.Size() + c.After.Size() + 128
	if w.size > w.limit {
		w.over, w.changes = true, nil
		return
	}
	w.changes = append(w.changes, c)
}

// Overflowed says that more changes came than the window holds: the chunk must be read again, smaller.
func (w *Window) Overflowed() bool { return w.over }

// Clone copies a change with all its bytes, so that it outlives the stream's buffers.
func Clone(c *change.Change) *change.Change {
	out := *c
	n := 0
	for _, r := range []change.Row{c.Before, c.After} {
		for _, v := range r {
			n += len(v.Bytes())
		}
	}
	buf := make([]byte, 0, n)
	values := make([]change.Value, 0, len(c.Before)+len(c.After))
	out.Before, buf, values = cloneRow(c.Before, buf, values)
	out.After, _, _ = cloneRow(c.After, buf, values)
	return &out
}

func cloneRow(r change.Row, buf []byte, values []change.Value) (change.Row, []byte, []change.Value) {
	if r == nil {
		return nil, buf, values
	}
	start := len(values)
	for _, v := range r {
		if v.Kind() == change.KindText {
			at := len(buf)
			buf = append(buf, v.Bytes()...)
			v = change.Text(buf[at:len(buf):len(buf)])
		}
		values = append(values, v)
	}
	return change.Row(values[start:len(values):len(values)]), buf, values
}
