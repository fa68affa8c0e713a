package reader

import (
	"fmt"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// A row that is larger than its topic takes travels as a stub: on the same lane, at the same position, with its key, its size and a
// fault, so that the applier can set the key aside (promise P1). What leads there, in this order: the old row's other columns are
// left out, for the key is all that is needed of it; then the new row's.

// fitted encodes the change as it fits into room bytes beside its key, and makes a stub of it where it does not. A change that is
// known to be larger is not encoded first, so that its bytes are not held twice.
func (l *lanes) fitted(t laneTable, c *change.Change, room int) error {
	size, fits, err := l.encode(t, c, room)
	if err != nil || fits || c.Op == change.Truncate {
		return err
	}
	if len(c.Table.Key) == 0 {
		return fault.Fatal(fmt.Errorf("%s of %s at %s has about %d bytes, its topic takes %d, and a row without a key cannot be set aside", c.Op, c.Table.Name, c.Pos, size, room),
			"nothing at or behind this position was passed on, no data is at risk: raise max.message.bytes of the table's topics, then start again")
	}
	if keyAlone(c.Table, c.Before) {
		if _, fits, err = l.encode(t, c, room); err != nil || fits {
			return err
		}
	}
	makeStub(c, int64(size))
	_, _, err = l.encode(t, c, room)
	return err
}

// readOf is the change that a chunk's row makes: a stub where an oversize change passed over it, or where it was too large to be kept. What it
// is now is not known then.
func readOf(e *emission, row change.Row) *change.Change {
	c := &change.Change{Table: e.table, Op: change.Read, After: row}
	if !wholeRow(e.table, row) {
		makeStub(c, e.large[string(row.AppendKey(nil, e.table.Key))])
	}
	return c
}

// encode encodes the change where it can fit, and says whether it does, and how large it is, or is at least.
func (l *lanes) encode(t laneTable, c *change.Change, room int) (size int, fits bool, err error) {
	if size = len(l.key) + least(c.Table, c.Before) + least(c.Table, c.After); size > room {
		return size, false, nil
	}
	if l.value, err = t.encoder.AppendValue(l.value[:0], c); err != nil {
		return 0, false, l.encodeError(c, err)
	}
	size = len(l.key) + len(l.value)
	return size, size <= room, nil
}

// least is how many bytes a row's texts have on the wire at least: bytea travels as bytes, of which the text has two digits each, and
// short types as numbers.
func least(t *table.Table, r change.Row) int {
	n := 0
	for i := range r {
		b := len(r[i].Bytes())
		if b > short {
			if t.Columns[i].Base == "bytea" {
				b = b/2 - 1
			}
			n += b
		}
	}
	return n
}

// short is above the length of every text that travels as a number.
const short = 64

// keyAlone leaves nothing of an old row but the key's columns; false where there was nothing else.
func keyAlone(t *table.Table, r change.Row) bool {
	less := false
	for i := range r {
		if !t.IsKey(i) && !r[i].IsAbsent() {
			r[i], less = change.Absent(), true
		}
	}
	return less
}

// makeStub leaves of a change what identifies its row. The rows are the change's own.
func makeStub(c *change.Change, size int64) {
	keyAlone(c.Table, c.Before)
	keyAlone(c.Table, c.After)
	c.Fault = &change.Fault{Stage: "reader", Code: change.FaultTooLarge, Text: "the row is larger than its raw topic takes", Size: size}
}

// wholeRow says whether a row has every column that a chunk reads.
func wholeRow(t *table.Table, r change.Row) bool {
	for i, v := range r {
		if v.IsAbsent() && !t.Columns[i].Generated {
			return false
		}
	}
	return true
}

// largest is from how many bytes of text on a row of each table can only travel as a stub: bytea takes half of its text, and what
// COPY escapes takes less than its text too.
func largest(w Writer, tables []*table.Table, partitions int32) func(t *table.Table) int64 {
	rooms := make(map[*table.Table]int64, len(tables))
	for i, t := range tables {
		rooms[t] = 4*int64(w.Room(i*int(partitions))) + short*int64(len(t.Columns))
	}
	return func(t *table.Table) int64 { return rooms[t] }
}
