package wire

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"segue/pkg/change"
	"segue/pkg/table"
)

// Source is what the source block of a raw record says about where it comes from.
type Source struct {
	Migration     string
	DB            string // the source database's name
	ServerVersion string // of the source's PostgreSQL
	Version       string // segue's
	// CatalogAt is where the source's log ended before the tables' shapes were read from its catalog. A record of another shape from behind it may
	// be of a newer one, and is refused: what it adds would vanish. 0: not known, nothing is refused.
	CatalogAt uint64
	// Unused says whether nothing takes a column of a table whose changes are ignored: records that differ in nothing else are read. Nil: none.
	Unused func(n table.Name, column string) bool
	// Now gives ts_ms and ts_us, the time of writing; nil leaves them null. The reader's clock, never compared.
	Now func() time.Time
}

// Raw is the codec of one source table's raw topic, compiled from the table's shape. It is safe for concurrent use.
type Raw struct {
	table *table.Table
	layout
	older      older // what records of other shapes look like
	catalogAt  uint64
	unused     func(n table.Name, column string) bool
	value, key *subject
	now        func() time.Time
	source     []byte // the part of the source block that is the same in every record
}

// NewRaw compiles the codec and registers <topic>-value and, where the table has a key, <topic>-key.
func NewRaw(ctx context.Context, reg Registry, topic string, t *table.Table, s Source) (*Raw, error) {
	r := &Raw{table: t, layout: layoutOf(t.Columns), now: s.Now, source: constantSource(t, &s), catalogAt: s.CatalogAt, unused: s.Unused}
	space := namespace(s.Migration, t.Name)
	text, err := valueSchema(space, t)
	if err != nil {
		return nil, err
	}
	if r.value, err = register(ctx, reg, topic+"-value", text); err != nil {
		return nil, err
	}
	if len(t.Key) == 0 {
		return r, nil
	}
	if text, err = keySchema(space, t); err != nil {
		return nil, err
	}
	r.key, err = register(ctx, reg, topic+"-key", text)
	return r, err
}

func constantSource(t *table.Table, s *Source) []byte {
	var b []byte
	for _, text := range []string{s.Version, "segue", s.Migration, s.ServerVersion, s.DB, t.Name.Schema, t.Name.Table} {
		b = appendBytes(b, text)
	}
	return b
}

// sourceStrings is how many strings the constant part of the source block holds.
const sourceStrings = 7

// Table is the shape that the codec was compiled from.
func (r *Raw) Table() *table.Table { return r.table }

// Schema is the schema of the values.
func (r *Raw) Schema() string { return r.value.text }

// KeySchema is the schema of the keys, empty for a table without key.
func (r *Raw) KeySchema() string {
	if r.key == nil {
		return ""
	}
	return r.key.text
}

// Lane is the partition of a key that AppendKey made.
func (r *Raw) Lane(key []byte, n int32) int32 { return Partition(Body(key), n) }

// AppendKey adds the framed key of a row that holds all columns of the table, as change.Change.Key gives it. A table without key has
// none: dst comes back as it is. See Partition for the lane.
func (r *Raw) AppendKey(dst []byte, row change.Row) ([]byte, error) {
	if r.key == nil {
		return dst, nil
	}
	if len(row) != len(r.kinds) {
		return dst, r.wrongLength("key", row)
	}
	start := len(dst)
	dst = r.key.frame(dst)
	for _, k := range r.table.Key {
		how := none
		if row[k].Kind() == change.KindText {
			dst, how = r.kinds[k].encode(dst, row[k].Bytes())
		}
		if how == none {
			return dst[:start], fmt.Errorf("encode key of %s: column %s: no %s there", r.table.Name, r.table.Columns[k].Name, r.kinds[k].avro())
		}
	}
	return dst, nil
}

// AppendValue adds the framed envelope of a change.
func (r *Raw) AppendValue(dst []byte, c *change.Change) ([]byte, error) {
	switch c.Op {
	case change.Insert, change.Update, change.Delete, change.Read, change.Truncate:
	default:
		return dst, fmt.Errorf("encode %s %s: unknown operation", r.table.Name, c.Pos)
	}
	if c.Before != nil && len(c.Before) != len(r.kinds) {
		return dst, r.wrongLength("before", c.Before)
	}
	if c.After != nil && len(c.After) != len(r.kinds) {
		return dst, r.wrongLength("after", c.After)
	}
	dst = r.value.frame(dst)
	dst, before := r.appendRow(dst, c.Before)
	dst, after := r.appendRow(dst, c.After)
	dst = r.appendSource(dst, c)
	dst = appendTransaction(dst, c)
	dst = append(dst, 2, byte(c.Op)) // a string of one byte
	dst = r.appendNow(dst)
	return r.appendSegue(dst, c, before, after), nil
}

func (r *Raw) wrongLength(what string, row change.Row) error {
	return fmt.Errorf("encode %s of %s: %d values for %d columns", what, r.table.Name, len(row), len(r.kinds))
}

// notes is what a row holds that its fields cannot say.
type notes struct{ absent, texts int }

func (r *Raw) appendRow(b []byte, row change.Row) ([]byte, notes) {
	var n notes
	if row == nil {
		return append(b, branchNull), n
	}
	b = append(b, branchValue)
	for i := range row {
		switch row[i].Kind() {
		case change.KindNull:
			b = append(b, branchNull)
		case change.KindText:
			var how fit
			if b, how = appendTyped(b, r.kinds[i], row[i].Bytes()); how != exact {
				n.texts++
			}
		default:
			b = append(b, branchNull)
			n.absent++
		}
	}
	return b, n
}

// appendTyped adds a column's value; a text that its type does not take is null there.
func appendTyped(b []byte, k kind, text []byte) ([]byte, fit) {
	start := len(b)
	b, how := k.encode(append(b, branchValue), text)
	if how == none {
		b = append(b[:start], branchNull)
	}
	return b, how
}

func (r *Raw) appendSource(b []byte, c *change.Change) []byte {
	b = append(b, r.source...)
	if c.Op == change.Read {
		b = appendBytes(b, "incremental")
	} else {
		b = appendBytes(b, "false")
	}
	b = appendLong(b, c.Tx.Committed/1000)
	b = appendLong(b, c.Tx.Committed)
	b = appendLong(append(b, branchValue), int64(c.Tx.XID))
	return appendUnsigned(append(b, branchValue), c.Pos.LSN)
}

func appendTransaction(b []byte, c *change.Change) []byte {
	if c.Op == change.Read {
		return append(b, branchNull)
	}
	var id [32]byte
	text := strconv.AppendUint(id[:0], uint64(c.Tx.XID), 10)
	text = strconv.AppendUint(append(text, ':'), c.Pos.LSN, 10)
	b = appendBytes(append(b, branchValue), text)
	b = appendUnsigned(b, c.Pos.Seq)
	return append(b, branchNull)
}

func (r *Raw) appendNow(b []byte) []byte {
	if r.now == nil {
		return append(b, branchNull, branchNull)
	}
	us := r.now().UnixMicro()
	b = appendLong(append(b, branchValue), us/1000)
	return appendLong(append(b, branchValue), us)
}

func (r *Raw) appendSegue(b []byte, c *change.Change, before, after notes) []byte {
	b = appendLong(b, int64(c.Pos.Epoch))
	b = appendUnsigned(b, c.Pos.Seq)
	b = appendAbsent(b, c.Before, before.absent)
	b = appendAbsent(b, c.After, after.absent)
	texts := before.texts + after.texts
	b = appendCount(b, texts)
	if texts > 0 {
		b = r.appendTexts(b, 0, c.Before)
		b = r.appendTexts(b, 1, c.After)
	}
	b = appendEnd(b, texts)
	b = appendBool(b, c.Cascade)
	b = appendBool(b, c.RestartIdentity)
	if c.Fault == nil {
		return append(b, branchNull)
	}
	b = appendBytes(append(b, branchValue), c.Fault.Code)
	return appendLong(appendBytes(b, c.Fault.Text), c.Fault.Size)
}

func appendAbsent(b []byte, row change.Row, n int) []byte {
	b = appendCount(b, n)
	if n == 0 {
		return b
	}
	for i := range row {
		if row[i].IsAbsent() {
			b = appendLong(b, int64(i))
		}
	}
	return appendEnd(b, n)
}

// appendTexts adds the texts that appendRow counted: it tries each value once more. Such values are rare.
func (r *Raw) appendTexts(b []byte, which int64, row change.Row) []byte {
	for i := range row {
		if row[i].Kind() != change.KindText || r.kinds[i] == kindString {
			continue
		}
		text := row[i].Bytes()
		if _, how := r.kinds[i].encode(b[len(b):], text); how != exact {
			b = appendBytes(appendLong(appendLong(b, which), int64(i)), text)
		}
	}
	return b
}
