package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"segue/pkg/fault"
)

// FramingSize is the length of what Confluent's framing puts before the Avro body: a zero byte and the schema's id.
const FramingSize = 5

// lookupTimeout bounds the question to the registry that an unknown schema id raises.
const lookupTimeout = 30 * time.Second

// subject is one registered schema: it frames what is written by it, and judges what was written by another version.
type subject struct {
	reg  Registry
	name string
	text string
	id   uint32

	mu    sync.Mutex
	known map[uint32]error // other ids that were met: nil where the schema says the same
}

// register enters the schema in the registry; what comes back is ready to frame with.
func register(ctx context.Context, reg Registry, name, schema string) (*subject, error) {
	text, err := compact(schema)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", name, err)
	}
	id, err := reg.ID(ctx, name, text)
	if err != nil {
		return nil, err
	}
	if id < 0 || int64(id) > 1<<32-1 {
		return nil, fmt.Errorf("schema of %s: the registry gave it the id %d", name, id)
	}
	return &subject{reg: reg, name: name, text: text, id: uint32(id), known: make(map[uint32]error)}, nil
}

// frame begins a record: a zero byte and the schema's id.
func (s *subject) frame(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0), s.id)
}

// open returns a cursor on the body, if it is written by this schema or by one that says the same.
func (s *subject) open(b []byte) (cursor, error) {
	if len(b) < FramingSize || b[0] != 0 {
		return cursor{}, fmt.Errorf("%s: not in Confluent's wire format", s.name)
	}
	if id := binary.BigEndian.Uint32(b[1:]); id != s.id {
		if err := s.judge(id); err != nil {
			return cursor{}, err
		}
	}
	return cursor{b: b[FramingSize:]}, nil
}

// judge looks at the schema of another id, once. A registry that cannot be reached is asked again at the next record.
func (s *subject) judge(id uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err, met := s.known[id]; met {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	text, err := s.reg.Schema(ctx, int(id))
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if !sameSchema(text, s.text) {
		err = fault.Fatal(
			fmt.Errorf("%s: written with schema %d, whose columns are not those of schema %d that is known now", s.name, id, s.id),
			"the table was changed after these records were written: resync the table, or go on with the version of segue and the table's shape that wrote them")
	}
	s.known[id] = err
	return err
}

// sameSchema says whether two schemas give the same bytes the same meaning: names, types and order, and each column's
// name and base type in PostgreSQL. Docs, defaults and modifiers may differ.
func sameSchema(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return reflect.DeepEqual(essence(x), essence(y))
}

// essence leaves of a schema what sameSchema compares.
func essence(schema any) any {
	switch s := schema.(type) {
	case []any:
		for i := range s {
			s[i] = essence(s[i])
		}
	case map[string]any:
		for key, v := range s {
			switch key {
			case "type", "name", "namespace", "fields", "items", "values", "size", "symbols", "logicalType", propBase, propName:
				s[key] = essence(v)
			default:
				delete(s, key)
			}
		}
	}
	return schema
}

// compact writes a schema without its white space, so that the same schema is the same text.
func compact(schema string) (string, error) {
	if !json.Valid([]byte(schema)) {
		return "", errors.New("not JSON")
	}
	out, err := json.Marshal(json.RawMessage(schema))
	return string(out), err
}
