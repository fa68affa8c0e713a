package wire

import (
	"bytes"
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
	head []byte // what its records begin with
	id   uint32 // 0 without a registry

	mu    sync.Mutex
	known map[uint32]error // other ids that were met: nil where the schema says the same
}

// register enters the schema in the registry; what comes back is ready to frame with.
func register(ctx context.Context, reg Registry, name, schema string) (*subject, error) {
	text, err := compact(schema)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", name, err)
	}
	if _, ok := reg.(Unregistered); ok {
		head, err := singleHead(text)
		return &subject{name: name, text: text, head: head}, err
	}
	id, err := reg.ID(ctx, name, text)
	if err != nil {
		return nil, err
	}
	if id < 0 || int64(id) > 1<<32-1 {
		return nil, fmt.Errorf("schema of %s: the registry gave it the id %d", name, id)
	}
	head := binary.BigEndian.AppendUint32([]byte{magicRegistry}, uint32(id))
	return &subject{reg: reg, name: name, text: text, head: head, id: uint32(id), known: make(map[uint32]error)}, nil
}

// frame begins a record: a zero byte and the schema's id, or without a registry the schema's fingerprint.
func (s *subject) frame(b []byte) []byte { return append(b, s.head...) }

// open returns a cursor on the body, if it is written by this schema or by one that says the same.
func (s *subject) open(b []byte) (cursor, error) {
	if bytes.HasPrefix(b, s.head) {
		return cursor{b: b[len(s.head):]}, nil
	}
	if err := s.foreign(b); err != nil {
		return cursor{}, err
	}
	if len(b) < FramingSize || b[0] != magicRegistry {
		return cursor{}, fmt.Errorf("%s: not in Confluent's wire format", s.name)
	}
	if id := binary.BigEndian.Uint32(b[1:]); id != s.id {
		if err := s.judge(id); err != nil {
			return cursor{}, err
		}
	}
	return cursor{b: b[FramingSize:], other: binary.BigEndian.Uint32(b[1:]) != s.id}, nil
}

// foreign says what is wrong with a record that is in the other form of the wire, or without a registry of another schema.
func (s *subject) foreign(b []byte) error {
	switch {
	case len(b) == 0:
	case s.reg == nil && b[0] == magicRegistry:
		return otherForm(s.name, "avro", "json")
	case s.reg != nil && (b[0] == magicSingle || b[0] == magicJSON):
		return otherForm(s.name, "json", "avro")
	case s.reg == nil && len(b) >= len(s.head) && string(b[:2]) == singleObject:
		return fault.Fatal(fmt.Errorf("%s: written with another schema than this version of segue has", s.name),
			"go on with the version of segue that wrote these records")
	}
	if s.reg == nil {
		return fmt.Errorf("%s: not in Avro's single-object encoding", s.name)
	}
	return nil
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
// name and base type in PostgreSQL. Docs, defaults and modifiers may differ, and either may lack the fields at a record's end that
// came later (propLater): who decodes takes a record that ends before them.
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
		kept := s[:0]
		for _, v := range s {
			if field, ok := v.(map[string]any); !ok || field[propLater] != true {
				kept = append(kept, essence(v))
			}
		}
		return kept
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
