package wire

import (
	"bytes"
	"fmt"

	"segue/pkg/change"
)

// Decode reads a framed envelope into c, whose table becomes the codec's. Strings are slices of b, which must not change while the
// change is held; what is printed anew (numbers, booleans, bytea) takes one allocation, each row one more.
func (r *Raw) Decode(b []byte, c *change.Change) error {
	a := Arena{once: true}
	return r.DecodeIn(&a, b, c)
}

// DecodeIn is Decode with the memory of an arena, for who decodes many.
func (r *Raw) DecodeIn(a *Arena, b []byte, c *change.Change) error {
	cur, l, err := r.open(b)
	if err != nil {
		return err
	}
	*c = change.Change{Table: r.table}
	c.Before = l.decodeRow(&cur, a)
	c.After = l.decodeRow(&cur, a)
	r.decodeSource(&cur, c)
	skipTransaction(&cur)
	c.Op = decodeOp(cur.bytes())
	skipNow(&cur)
	decodeSegue(&cur, c)
	if c.Op == 0 {
		cur.fail("unknown operation")
	}
	if err := cur.done(); err != nil {
		*c = change.Change{}
		return fmt.Errorf("decode %s: %w", r.value.name, err)
	}
	if l.project != nil {
		if r.catalogAt != 0 && c.Pos.LSN > r.catalogAt && !l.harmless {
			return r.newer(c)
		}
		l.present(a, c)
	}
	return nil
}

func (l *layout) decodeRow(c *cursor, a *Arena) change.Row {
	if !c.present() {
		return nil
	}
	if c.left() < len(l.kinds) { // a column takes at least a byte
		c.fail("truncated")
		return nil
	}
	row := a.row(len(l.kinds))
	a.reserve(l.textSize)
	for i, k := range l.kinds {
		if c.present() {
			row[i] = k.decode(c, a)
		} else {
			row[i] = change.Null()
		}
	}
	return row
}

func (r *Raw) decodeSource(c *cursor, into *change.Change) {
	if bytes.HasPrefix(c.b[c.at:], r.source) {
		c.at += len(r.source)
	} else {
		for range sourceStrings {
			c.bytes()
		}
	}
	c.bytes() // snapshot
	c.long()  // ts_ms
	into.Tx.Committed = c.long()
	if c.present() {
		into.Tx.XID = c.uint32()
	}
	if c.present() {
		into.Pos.LSN = c.unsigned()
	}
}

func skipTransaction(c *cursor) {
	if !c.present() {
		return
	}
	c.bytes() // id
	c.long()  // total_order
	if c.present() {
		c.long() // data_collection_order
	}
}

func skipNow(c *cursor) {
	for range 2 {
		if c.present() {
			c.long()
		}
	}
}

// decodeOp gives 0 for what is no operation.
func decodeOp(s []byte) change.Op {
	if len(s) != 1 {
		return 0
	}
	switch op := change.Op(s[0]); op {
	case change.Insert, change.Update, change.Delete, change.Read, change.Truncate:
		return op
	}
	return 0
}

func decodeSegue(c *cursor, into *change.Change) {
	into.Pos.Epoch = c.uint32()
	into.Pos.Seq = c.unsigned()
	decodeAbsent(c, into.Before)
	decodeAbsent(c, into.After)
	for n := c.block(); n > 0; n = c.block() {
		for range n {
			decodeText(c, into)
		}
	}
	into.Cascade = c.bool()
	into.RestartIdentity = c.bool()
	if !c.ends() && c.present() {
		into.Fault = &change.Fault{Stage: stubStage, Code: c.string(), Text: c.string(), Size: c.long()}
	}
}

// stubStage is who makes stubs on raw topics.
const stubStage = "reader"

func decodeAbsent(c *cursor, row change.Row) {
	for n := c.block(); n > 0; n = c.block() {
		for range n {
			i := c.long()
			if i < 0 || i >= int64(len(row)) || !row[i].IsNull() {
				c.fail("absent column with a value")
				return
			}
			row[i] = change.Absent()
		}
	}
}

func decodeText(c *cursor, into *change.Change) {
	row := into.Before
	if c.index(2) == 1 {
		row = into.After
	}
	i, text := c.long(), c.bytes()
	if i < 0 || i >= int64(len(row)) || row[i].IsAbsent() {
		c.fail("text for a column that is not there")
		return
	}
	row[i] = change.Text(text)
}
