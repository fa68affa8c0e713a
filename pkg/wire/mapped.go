package wire

import (
	"context"
	"fmt"

	"segue/pkg/change"
	"segue/pkg/table"
	"segue/schemas"
)

// Mapped is the codec of the shaped and unique topics: one fixed schema for all tables. It is safe for concurrent use.
type Mapped struct {
	value, key *subject
	source     table.Name
}

// NewMapped registers <topic>-value and <topic>-key. The source is the table that the topic is named by: its name costs
// nothing to decode.
func NewMapped(ctx context.Context, reg Registry, topic string, source table.Name) (*Mapped, error) {
	value, err := register(ctx, reg, topic+"-value", schemas.Mapped)
	if err != nil {
		return nil, err
	}
	key, err := register(ctx, reg, topic+"-key", schemas.MappedKey)
	if err != nil {
		return nil, err
	}
	return &Mapped{value: value, key: key, source: source}, nil
}

// Schema is the schema of the values.
func (m *Mapped) Schema() string { return m.value.text }

// KeySchema is the schema of the keys.
func (m *Mapped) KeySchema() string { return m.key.text }

// AppendKey adds the framed source key of a mapped change, for people and their tools: the lane is the input's. A
// change without source key (a truncate) has none, and dst comes back as it is.
func (m *Mapped) AppendKey(dst []byte, c *change.Mapped) ([]byte, error) {
	if c.SourceKey == nil {
		return dst, nil
	}
	return appendValues(m.key.frame(dst), c.SourceKey), nil
}

// ops holds the operations in the order of the schema's symbols.
const ops = "cudrt"

func opIndex(op change.Op) int {
	for i := range len(ops) {
		if ops[i] == byte(op) {
			return i
		}
	}
	return -1
}

// AppendValue adds the framed record of a mapped change.
func (m *Mapped) AppendValue(dst []byte, c *change.Mapped) ([]byte, error) {
	start := len(dst)
	dst = appendPosition(m.value.frame(dst), c.Pos)
	dst = appendLong(dst, int64(c.Tx.XID))
	dst = appendLong(dst, c.Tx.Committed)
	dst = appendName(dst, c.Source)
	op := opIndex(c.SourceOp)
	dst = appendLong(dst, int64(op))
	dst = appendCount(dst, len(c.Ops))
	for i := range c.Ops {
		o := &c.Ops[i]
		index := opIndex(o.Op)
		op = min(op, index)
		dst = appendLong(dst, int64(o.Target))
		dst = appendLong(dst, int64(index))
		dst = appendOptional(dst, o.Key)
		dst = appendOptional(dst, o.Row)
		dst = appendBool(dst, o.Cascade)
		dst = appendBool(dst, o.RestartIdentity)
	}
	dst = appendEnd(dst, len(c.Ops))
	if op < 0 {
		return dst[:start], fmt.Errorf("encode mapped %s %s: unknown operation", c.Source, c.Pos)
	}
	dst = appendOptional(dst, c.Want)
	dst = appendOptional(dst, c.SourceKey)
	return appendFault(appendOptional(dst, c.OldKey), c.Fault), nil
}

func appendFault(b []byte, f *change.Fault) []byte {
	if f == nil {
		return append(b, branchNull)
	}
	b = appendBytes(append(b, branchValue), f.Stage)
	return appendLong(appendBytes(appendBytes(b, f.Code), f.Text), f.Size)
}

func decodeFault(c *cursor) *change.Fault {
	if !c.present() {
		return nil
	}
	return &change.Fault{Stage: c.string(), Code: c.string(), Text: c.string(), Size: c.long()}
}

// Decode reads a framed record into c. The values are slices of b, which must not change while the change is held.
func (m *Mapped) Decode(b []byte, c *change.Mapped) error {
	a := Arena{once: true}
	return m.DecodeIn(&a, b, c)
}

// DecodeIn is Decode with the memory of an arena, for who decodes many.
func (m *Mapped) DecodeIn(a *Arena, b []byte, c *change.Mapped) error {
	cur, err := m.value.open(b)
	if err != nil {
		return err
	}
	*c = change.Mapped{Pos: decodePosition(&cur)}
	c.Tx.XID = cur.uint32()
	c.Tx.Committed = cur.long()
	c.Source = m.decodeSource(&cur)
	c.SourceOp = change.Op(ops[cur.index(int64(len(ops)))])
	for n := cur.block(); n > 0; n = cur.block() {
		if c.Ops == nil {
			c.Ops = make([]change.RowOp, 0, min(n, maxOpsAhead))
		}
		for range n {
			if cur.err != nil {
				break
			}
			c.Ops = append(c.Ops, decodeRowOp(&cur, a))
		}
	}
	c.Want = decodeOptional(&cur, a)
	c.SourceKey = decodeOptional(&cur, a)
	if !cur.ends() {
		c.OldKey, c.Fault = decodeOptional(&cur, a), decodeFault(&cur)
	}
	if err := cur.done(); err != nil {
		*c = change.Mapped{}
		return fmt.Errorf("decode %s: %w", m.value.name, err)
	}
	return nil
}

// maxOpsAhead bounds what is allocated on a record's word alone.
const maxOpsAhead = 64

func decodeRowOp(c *cursor, a *Arena) change.RowOp {
	return change.RowOp{
		Target:          int(c.int32()),
		Op:              change.Op(ops[c.index(int64(len(ops)))]),
		Key:             decodeOptional(c, a),
		Row:             decodeOptional(c, a),
		Cascade:         c.bool(),
		RestartIdentity: c.bool(),
	}
}

func (m *Mapped) decodeSource(c *cursor) table.Name {
	schema, name := c.bytes(), c.bytes()
	if string(schema) == m.source.Schema && string(name) == m.source.Table {
		return m.source
	}
	return table.Name{Schema: string(schema), Table: string(name)}
}

func appendPosition(b []byte, p change.Position) []byte {
	return appendUnsigned(appendUnsigned(appendLong(b, int64(p.Epoch)), p.LSN), p.Seq)
}

func decodePosition(c *cursor) change.Position {
	return change.Position{Epoch: c.uint32(), LSN: c.unsigned(), Seq: c.unsigned()}
}

func appendName(b []byte, n table.Name) []byte {
	return appendBytes(appendBytes(b, n.Schema), n.Table)
}

func decodeName(c *cursor) table.Name {
	return table.Name{Schema: c.string(), Table: c.string()}
}
