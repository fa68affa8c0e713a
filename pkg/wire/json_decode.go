package wire

import (
	"bytes"
	"fmt"
	"math"

	"segue/pkg/change"
)

// Decode reads a record into c, whose table becomes the codec's. Texts are slices of b where they can be, and b must not change while the
// change is held.
func (r *RawJSON) Decode(b []byte, c *change.Change) error {
	a := Arena{once: true}
	return r.DecodeIn(&a, b, c)
}

// DecodeIn is Decode with the memory of an arena, for who decodes many.
func (r *RawJSON) DecodeIn(a *Arena, b []byte, c *change.Change) error {
	payload, l, err := r.open(a, b)
	if err != nil {
		return err
	}
	cur := jsonCursor{b: payload, a: a}
	*c = change.Change{Table: r.table}
	r.decodeEnvelope(&cur, l, c)
	if err := cur.done(); err != nil {
		*c = change.Change{}
		return fmt.Errorf("decode %s: payload: %w", r.name, err)
	}
	if l.project != nil {
		(&layout{project: l.project}).present(a, c)
	}
	return nil
}

// open returns the payload and the layout that it was written by.
func (r *RawJSON) open(a *Arena, b []byte) ([]byte, *jsonLayout, error) {
	if n := len(r.value.text); bytes.HasPrefix(b, r.value.text) && b[len(b)-1] == '}' {
		return b[n : len(b)-1], &r.jsonLayout, nil
	}
	if len(b) > 0 && b[0] == magicRegistry {
		return nil, nil, otherForm(r.name, "avro", "json")
	}
	var parts [2][]byte
	cur := jsonCursor{b: b, a: a}
	cur.object(members("schema", "payload"), func(i int) { parts[i] = cur.skip(0) })
	if err := cur.done(); err != nil {
		return nil, nil, fmt.Errorf("decode %s: not a record with schema and payload: %w", r.name, err)
	}
	l, err := r.writer(parts[0])
	return parts[1], l, err
}

// The members of the envelope's parts, in the order in which they are written.
var (
	envelopeMembers    = members("before", "after", "source", "transaction", "op", "ts_ms", "ts_us", "segue")
	transactionMembers = members("id", "total_order", "data_collection_order")
	segueMembers       = members("epoch", "seq", "absent_before", "absent_after", "texts", "cascade", "restart_identity", "stub")
	stubMembers        = members("code", "text", "size")
	textMembers        = members("row", "field", "text", "bytes")
)

// jsonNotes are the lists of the segue block, which may stand before the rows they speak of.
type jsonNotes struct {
	absent [2][]int64
	texts  []jsonText
}

type jsonText struct {
	row   int // 0: before, 1: after
	field int64
	text  []byte
}

func (r *RawJSON) decodeEnvelope(c *jsonCursor, l *jsonLayout, into *change.Change) {
	var notes jsonNotes
	c.object(envelopeMembers, func(i int) {
		switch i {
		case 0:
			into.Before = l.decodeRow(c)
		case 1:
			into.After = l.decodeRow(c)
		case 2:
			r.decodeSource(c, into)
		case 3:
			decodeJSONTransaction(c)
		case 4:
			if into.Op = decodeOp(c.string()); into.Op == 0 {
				c.fail("unknown operation")
			}
		case 5, 6:
			optionalLong(c)
		case 7:
			decodeJSONSegue(c, into, &notes)
		}
	})
	notes.apply(c, into)
}

func (l *jsonLayout) decodeRow(c *jsonCursor) change.Row {
	if c.null() {
		return nil
	}
	row := c.a.row(len(l.columns))
	c.object(l.rows, func(i int) {
		if c.null() {
			row[i] = change.Null()
		} else {
			row[i] = l.columns[i].kind.decode(c)
		}
	})
	return row
}

func (r *RawJSON) decodeSource(c *jsonCursor, into *change.Change) {
	c.object(r.sourceMembers, func(i int) {
		switch r.sourceMembers[i].name {
		case "ts_ms":
			c.integer(math.MinInt64, math.MaxInt64)
		case "ts_us":
			into.Tx.Committed = c.integer(math.MinInt64, math.MaxInt64)
		case "txId":
			if !c.null() {
				into.Tx.XID = uint32(c.integer(0, math.MaxUint32))
			}
		case "lsn":
			into.Pos.LSN = uint64(optionalLong(c)) // the bits are meant
		default:
			c.string()
		}
	})
}

func decodeJSONTransaction(c *jsonCursor) {
	if c.null() {
		return
	}
	c.object(transactionMembers, func(i int) {
		switch i {
		case 0:
			c.string()
		case 1:
			c.integer(math.MinInt64, math.MaxInt64)
		case 2:
			optionalLong(c)
		}
	})
}

func optionalLong(c *jsonCursor) int64 {
	if c.null() {
		return 0
	}
	return c.integer(math.MinInt64, math.MaxInt64)
}

func decodeJSONSegue(c *jsonCursor, into *change.Change, notes *jsonNotes) {
	c.object(segueMembers, func(i int) {
		switch i {
		case 0:
			into.Pos.Epoch = uint32(c.integer(0, math.MaxUint32))
		case 1:
			into.Pos.Seq = uint64(c.integer(math.MinInt64, math.MaxInt64)) // the bits are meant
		case 2, 3:
			c.array(func() { notes.absent[i-2] = append(notes.absent[i-2], c.integer(0, math.MaxInt32)) })
		case 4:
			c.array(func() { notes.texts = append(notes.texts, decodeJSONText(c)) })
		case 5:
			into.Cascade = c.bool()
		case 6:
			into.RestartIdentity = c.bool()
		case 7:
			into.Fault = decodeJSONStub(c)
		}
	})
}

func decodeJSONStub(c *jsonCursor) *change.Fault {
	if c.null() {
		return nil
	}
	f := &change.Fault{Stage: stubStage}
	c.object(stubMembers, func(i int) {
		switch i {
		case 0:
			f.Code = string(c.string())
		case 1:
			f.Text = string(c.string())
		case 2:
			f.Size = c.integer(math.MinInt64, math.MaxInt64)
		}
	})
	return f
}

func decodeJSONText(c *jsonCursor) jsonText {
	var t jsonText
	given := 0
	c.object(textMembers, func(i int) {
		switch i {
		case 0:
			switch string(c.string()) {
			case "before":
			case "after":
				t.row = 1
			default:
				c.fail("a text of no row")
			}
		case 1:
			t.field = c.integer(0, math.MaxInt32)
		case 2, 3:
			if c.null() {
				return
			}
			if given++; i == 2 {
				t.text = c.string()
				return
			}
			c.base64(c.string(), func(part []byte) { t.text = append(t.text, part...) })
		}
	})
	if given != 1 {
		c.fail("a text that is not there once")
	}
	return t
}

// apply makes the rows what the lists say. A field that one of them names is null; or it is absent and holds what the row before held.
func (n *jsonNotes) apply(c *jsonCursor, into *change.Change) {
	rows := [2]change.Row{into.Before, into.After}
	for which, list := range n.absent {
		for _, i := range list {
			row := rows[which]
			unchanged := which == 1 && i < int64(min(len(into.Before), len(row))) && row[i].Equal(into.Before[i])
			if i >= int64(len(row)) || !row[i].IsNull() && !unchanged {
				c.fail("absent column with a value")
				return
			}
			rows[which][i] = change.Absent()
		}
	}
	for _, t := range n.texts {
		if row := rows[t.row]; t.field >= int64(len(row)) || !row[t.field].IsNull() {
			c.fail("text for a column that is not null")
			return
		}
		rows[t.row][t.field] = change.Text(t.text)
	}
}
