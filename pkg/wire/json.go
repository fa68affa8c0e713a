package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"segue/pkg/change"
	"segue/pkg/table"
)

// RawJSON is the codec of one source table's raw topic in the JSON form: Kafka Connect's {"schema": …, "payload": …}, as its
// JsonConverter writes it, with Raw's envelope. It asks no registry. It is safe for concurrent use.
type RawJSON struct {
	jsonLayout
	table         *table.Table
	name          string // the topic, for errors
	value, key    jsonHead
	source        []byte   // the source block's members that are the same in every record
	sourceMembers []member // of the whole source block
	now           func() time.Time

	mu    sync.Mutex
	known map[string]knownJSON // other schemas that were met
}

// jsonHead is what stands before a payload.
type jsonHead struct {
	schema string
	text   []byte // {"schema":…,"payload":
}

func newJSONHead(schema any) (jsonHead, error) {
	text, err := json.Marshal(schema)
	return jsonHead{schema: string(text), text: []byte(`{"schema":` + string(text) + `,"payload":`)}, err
}

// jsonColumn is how a column's values travel.
type jsonColumn struct {
	name string
	kind jsonKind
}

// NewRawJSON compiles the codec. The topic is for error texts.
func NewRawJSON(topic string, t *table.Table, s Source) (*RawJSON, error) {
	r := &RawJSON{table: t, name: topic, now: s.Now, known: make(map[string]knownJSON)}
	var err error
	if r.jsonLayout, err = jsonLayoutOf(t.Columns); err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	if r.value, err = newJSONHead(jsonValueSchema(s.Migration, t)); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", topic, err)
	}
	if len(t.Key) > 0 {
		if r.key, err = newJSONHead(jsonKeySchema(s.Migration, t)); err != nil {
			return nil, fmt.Errorf("key schema of %s: %w", topic, err)
		}
	}
	r.source, err = jsonSource(t, &s)
	if err != nil {
		return nil, fmt.Errorf("source block of %s: %w", topic, err)
	}
	r.sourceMembers = members("version", "connector", "name", "server_version", "db", "schema", "table", "snapshot", "ts_ms", "ts_us", "txId", "lsn")
	return r, nil
}

// jsonSource is the beginning of the source block, up to the comma.
func jsonSource(t *table.Table, s *Source) ([]byte, error) {
	b := []byte{'{'}
	for _, m := range [][2]string{
		{"version", s.Version},
		{"connector", "segue"},
		{"name", s.Migration},
		{"server_version", s.ServerVersion},
		{"db", s.DB},
		{"schema", t.Name.Schema},
		{"table", t.Name.Table},
	} {
		b = append(append(append(b, '"'), m[0]...), `":`...)
		var ok bool
		if b, ok = appendJSONString(b, []byte(m[1])); !ok {
			return nil, fmt.Errorf("%s is not UTF-8", m[0])
		}
		b = append(b, ',')
	}
	return b, nil
}

// Table is the shape that the codec was compiled from.
func (r *RawJSON) Table() *table.Table { return r.table }

// Schema is the schema of the values, as it stands in each of them.
func (r *RawJSON) Schema() string { return r.value.schema }

// KeySchema is the schema of the keys, empty for a table without key.
func (r *RawJSON) KeySchema() string { return r.key.schema }

// Lane is the partition of a key that AppendKey made: Kafka's murmur2 over the key's payload, so that another version's schema never
// moves a key.
func (r *RawJSON) Lane(key []byte, n int32) int32 {
	if len(key) <= len(r.key.text) {
		return Partition(nil, n)
	}
	return Partition(key[len(r.key.text):len(key)-1], n)
}

// AppendKey adds the key of a row that holds all columns of the table, as change.Change.Key gives it. A table without key has none: dst
// comes back as it is. NaN, and a text that is not UTF-8, are null there: no JSON says them, and null in a field that is never null
// stops other readers instead of giving them another row's key. Segue reads no keys.
func (r *RawJSON) AppendKey(dst []byte, row change.Row) ([]byte, error) {
	if len(r.table.Key) == 0 {
		return dst, nil
	}
	if len(row) != len(r.columns) {
		return dst, r.wrongLength("key", row)
	}
	start := len(dst)
	dst = append(dst, r.key.text...)
	for i, k := range r.table.Key {
		dst = append(dst, "{,"[min(i, 1)])
		dst = append(dst, r.rows[k].text...)
		ok := false
		if row[k].Kind() == change.KindText {
			text := row[k].Bytes()
			if dst, ok = r.columns[k].kind.append(dst, text); !ok && r.columns[k].kind.unsayable(text) {
				dst, ok = append(dst, "null"...), true
			}
		}
		if !ok {
			return dst[:start], fmt.Errorf("encode key of %s: column %s: no %s there", r.table.Name, r.columns[k].name, r.columns[k].kind.connect())
		}
	}
	return append(dst, "}}"...), nil
}

// AppendValue adds the record of a change.
func (r *RawJSON) AppendValue(dst []byte, c *change.Change) ([]byte, error) {
	if decodeOp([]byte{byte(c.Op)}) == 0 {
		return dst, fmt.Errorf("encode %s %s: unknown operation", r.table.Name, c.Pos)
	}
	if c.Before != nil && len(c.Before) != len(r.columns) {
		return dst, r.wrongLength("before", c.Before)
	}
	if c.After != nil && len(c.After) != len(r.columns) {
		return dst, r.wrongLength("after", c.After)
	}
	dst = append(append(dst, r.value.text...), `{"before":`...)
	dst, before := r.appendRow(dst, c.Before, nil)
	dst, after := r.appendRow(append(dst, `,"after":`...), c.After, c.Before)
	dst = r.appendSource(append(dst, `,"source":`...), c)
	dst = appendJSONTransaction(append(dst, `,"transaction":`...), c)
	dst = append(append(append(dst, `,"op":"`...), byte(c.Op)), '"')
	dst = r.appendNow(dst)
	dst = r.appendSegue(append(dst, `,"segue":`...), c, before, after)
	return append(dst, "}}"...), nil
}

func (r *RawJSON) wrongLength(what string, row change.Row) error {
	return fmt.Errorf("encode %s of %s: %d values for %d columns", what, r.table.Name, len(row), len(r.columns))
}

// appendRow adds a row. What it does not have but the row before it had (identity full) is unchanged: other tools, which look at after
// alone, find it there; for segue it is absent all the same.
func (r *RawJSON) appendRow(b []byte, row, old change.Row) ([]byte, notes) {
	var n notes
	if row == nil {
		return append(b, "null"...), n
	}
	b = append(b, '{')
	for i := range row {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, r.rows[i].text...)
		ok := false
		switch row[i].Kind() {
		case change.KindText:
			if b, ok = r.columns[i].kind.append(b, row[i].Bytes()); !ok {
				n.texts++
			}
		case change.KindAbsent:
			n.absent++
			if old != nil && old[i].Kind() == change.KindText {
				b, ok = r.columns[i].kind.append(b, old[i].Bytes())
			}
		case change.KindNull:
		}
		if !ok {
			b = append(b, "null"...)
		}
	}
	return append(b, '}'), n
}

func (r *RawJSON) appendSource(b []byte, c *change.Change) []byte {
	b = append(b, r.source...)
	if c.Op == change.Read {
		b = append(b, `"snapshot":"incremental","ts_ms":`...)
	} else {
		b = append(b, `"snapshot":"false","ts_ms":`...)
	}
	b = strconv.AppendInt(b, c.Tx.Committed/1000, 10)
	b = strconv.AppendInt(append(b, `,"ts_us":`...), c.Tx.Committed, 10)
	b = strconv.AppendUint(append(b, `,"txId":`...), uint64(c.Tx.XID), 10)
	b = strconv.AppendInt(append(b, `,"lsn":`...), int64(c.Pos.LSN), 10) // the bits are meant
	return append(b, '}')
}

func appendJSONTransaction(b []byte, c *change.Change) []byte {
	if c.Op == change.Read {
		return append(b, "null"...)
	}
	b = strconv.AppendUint(append(b, `{"id":"`...), uint64(c.Tx.XID), 10)
	b = strconv.AppendUint(append(b, ':'), c.Pos.LSN, 10)
	b = strconv.AppendInt(append(b, `","total_order":`...), int64(c.Pos.Seq), 10) // the bits are meant
	return append(b, `,"data_collection_order":null}`...)
}

func (r *RawJSON) appendNow(b []byte) []byte {
	if r.now == nil {
		return append(b, `,"ts_ms":null,"ts_us":null`...)
	}
	us := r.now().UnixMicro()
	b = strconv.AppendInt(append(b, `,"ts_ms":`...), us/1000, 10)
	return strconv.AppendInt(append(b, `,"ts_us":`...), us, 10)
}

func (r *RawJSON) appendSegue(b []byte, c *change.Change, before, after notes) []byte {
	b = strconv.AppendUint(append(b, `{"epoch":`...), uint64(c.Pos.Epoch), 10)
	b = strconv.AppendInt(append(b, `,"seq":`...), int64(c.Pos.Seq), 10) // the bits are meant
	b = appendJSONAbsent(append(b, `,"absent_before":[`...), c.Before, before.absent)
	b = appendJSONAbsent(append(b, `],"absent_after":[`...), c.After, after.absent)
	b = append(b, `],"texts":[`...)
	if before.texts+after.texts > 0 {
		start := len(b)
		b = r.appendTexts(b, "before", c.Before)
		b = r.appendTexts(b, "after", c.After)
		b = b[:max(start, len(b)-1)] // the last comma
	}
	b = strconv.AppendBool(append(b, `],"cascade":`...), c.Cascade)
	b = strconv.AppendBool(append(b, `,"restart_identity":`...), c.RestartIdentity)
	return append(appendJSONStub(append(b, `,"stub":`...), c.Fault), '}')
}

// appendJSONStub adds why a change is a stub. Its texts are segue's own: one that JSON does not hold is left empty.
func appendJSONStub(b []byte, f *change.Fault) []byte {
	if f == nil {
		return append(b, "null"...)
	}
	for _, m := range [][2]string{{`{"code":`, f.Code}, {`,"text":`, f.Text}} {
		start := len(b) + len(m[0])
		var ok bool
		if b, ok = appendJSONString(append(b, m[0]...), []byte(m[1])); !ok {
			b = append(b[:start], `""`...)
		}
	}
	return append(strconv.AppendInt(append(b, `,"size":`...), f.Size, 10), '}')
}

func appendJSONAbsent(b []byte, row change.Row, n int) []byte {
	if n == 0 {
		return b
	}
	for i := range row {
		if row[i].IsAbsent() {
			b = append(strconv.AppendInt(b, int64(i), 10), ',')
		}
	}
	return b[:len(b)-1]
}

// appendTexts adds the texts that appendRow counted, each with a comma behind it: it tries each value once more. Such values are rare.
func (r *RawJSON) appendTexts(b []byte, which string, row change.Row) []byte {
	for i := range row {
		if row[i].Kind() != change.KindText {
			continue
		}
		text := row[i].Bytes()
		if _, ok := r.columns[i].kind.append(b[len(b):], text); ok {
			continue
		}
		b = append(append(b, `{"row":"`...), which...)
		b = strconv.AppendInt(append(b, `","field":`...), int64(i), 10)
		start := len(b)
		var ok bool
		if b, ok = appendJSONString(append(b, `,"text":`...), text); ok {
			b = append(b, `,"bytes":null},`...)
		} else {
			b = appendBase64(append(b[:start], `,"text":null,"bytes":`...), text)
			b = append(b, "},"...)
		}
	}
	return b
}

// member is a member of an object: its name, and how it is written.
type member struct {
	name string
	text []byte // "name":
}

func newMember(name string) (member, error) {
	text, ok := appendJSONString(nil, []byte(name))
	if !ok {
		return member{}, errors.New("its name is not UTF-8")
	}
	return member{name: name, text: append(text, ':')}, nil
}

// members are those of a fixed object.
func members(names ...string) []member {
	out := make([]member, len(names))
	for i, name := range names {
		out[i] = member{name: name, text: []byte(`"` + name + `":`)}
	}
	return out
}
