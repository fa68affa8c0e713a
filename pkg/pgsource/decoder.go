package pgsource

import (
	"encoding/binary"
	"fmt"

	"segue/pkg/change"
)

// arenaValues is how many values are allocated at once: rows are cut from one piece, so that most cost no allocation. A
// row that somebody keeps holds on to at most this many values.
const arenaValues = 512

// Decoder reads messages of pgoutput's protocol version 1, text format. Values are slices of the message: they are good as long as the
// message's bytes are. It is for one goroutine; the rows it returns are not touched again.
type Decoder struct {
	free []change.Value
}

// Decode reads one message into m. Nothing in it is trusted: lengths are checked, trailing bytes refused. After an
// error m holds nothing of use.
func (d *Decoder) Decode(b []byte, m *Decoded) error {
	c := cursor{b: b}
	m.Type = c.u8()
	var err error
	switch m.Type {
	case 'I', 'U', 'D':
		err = d.row(&c, m.Type, &m.Row)
	case 'B':
		m.Begin = Begin{FinalLSN: c.u64(), CommitTime: c.micros(), XID: c.u32()}
	case 'C':
		c.u8() // flags, unused
		m.Commit = Commit{CommitLSN: c.u64(), EndLSN: c.u64(), CommitTime: c.micros()}
	case 'O':
		m.Origin = Origin{LSN: c.u64(), Name: c.text()}
	case 'R':
		m.Relation = relation(&c)
	case 'Y':
		m.TypeName = Type{OID: c.u32(), Schema: c.text(), Name: c.text()}
	case 'T':
		m.Truncate = truncate(&c)
	case 'M':
		m.Message = Message{Transactional: c.u8()&1 != 0, LSN: c.u64(), Prefix: c.text()}
		m.Message.Content = c.take(int(c.u32()))
	default:
		return fmt.Errorf("decode pgoutput: message type %q is unknown", m.Type)
	}
	if err == nil {
		err = c.err
	}
	if err == nil && len(c.b) != 0 {
		err = fmt.Errorf("%d bytes too many", len(c.b))
	}
	if err != nil {
		return fmt.Errorf("decode pgoutput message %q of %d bytes: %w", m.Type, len(b), err)
	}
	return nil
}

func relation(c *cursor) Relation {
	r := Relation{OID: c.u32(), Schema: c.text(), Table: c.text(), Identity: c.u8()}
	n := int(c.u16())
	// A column is at least ten bytes: a count that the message cannot hold allocates nothing.
	if n > len(c.b)/10 {
		c.fail()
		return r
	}
	r.Columns = make([]RelationColumn, 0, n)
	for range n {
		key := c.u8()&1 != 0
		col := RelationColumn{Name: c.text(), OID: c.u32(), Mod: int32(c.u32()), Key: key}
		r.Columns = append(r.Columns, col)
	}
	if r.Schema == "" {
		r.Schema = "pg_catalog" // the protocol's short form
	}
	return r
}

func truncate(c *cursor) TruncateMessage {
	n, flags := int(c.u32()), c.u8()
	t := TruncateMessage{Cascade: flags&1 != 0, RestartIdentity: flags&2 != 0}
	if n > len(c.b)/4 {
		c.fail()
		return t
	}
	t.RelationOIDs = make([]uint32, n)
	for i := range t.RelationOIDs {
		t.RelationOIDs[i] = c.u32()
	}
	return t
}

// row reads the tuples of an insert ('N'), an update (['K'|'O'] 'N') or a delete ('K'|'O').
func (d *Decoder) row(c *cursor, op byte, r *Row) error {
	*r = Row{RelationOID: c.u32()}
	kind := c.u8()
	if op != 'I' && (kind == 'K' || kind == 'O') {
		old, err := d.tuple(c)
		if err != nil {
			return err
		}
		r.OldKind, r.Old = kind, old
		if op == 'D' {
			return nil
		}
		kind = c.u8()
	}
	if c.err == nil && (kind != 'N' || op == 'D') {
		return fmt.Errorf("tuple kind %q does not belong there", kind)
	}
	var err error
	r.New, err = d.tuple(c)
	return err
}

// tuple reads one row. This is the hot path: it works on the slice itself and not through the cursor's methods.
func (d *Decoder) tuple(c *cursor) (change.Row, error) {
	n := int(c.u16())
	b := c.b
	if c.err != nil || n > len(b) { // a value is at least one byte
		return nil, errShort
	}
	row := d.newRow(n)
	for i := range row {
		if len(b) == 0 {
			return nil, errShort
		}
		kind := b[0]
		b = b[1:]
		switch kind {
		case 't':
			if len(b) < 4 {
				return nil, errShort
			}
			size := int(binary.BigEndian.Uint32(b))
			b = b[4:]
			if size > len(b) {
				return nil, errShort
			}
			row[i] = change.Text(b[:size:size])
			b = b[size:]
		case 'n':
			row[i] = change.Null()
		case 'u': // unchanged TOAST: absent, which is what the zero value says
		default:
			return nil, fmt.Errorf("value kind %q is unknown", kind)
		}
	}
	c.b = b
	return row, nil
}

// newRow cuts a row of n absent values from the arena.
func (d *Decoder) newRow(n int) change.Row {
	if n == 0 {
		return change.Row{} // not nil: there is a row
	}
	if n > len(d.free) {
		if n > arenaValues/4 {
			return make(change.Row, n)
		}
		d.free = make([]change.Value, arenaValues)
	}
	row := d.free[:n:n]
	d.free = d.free[n:]
	return row
}
