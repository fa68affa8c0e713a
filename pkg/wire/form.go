package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"segue/pkg/fault"
)

// The first bytes of a record tell the form of the wire that it was written in.
const (
	magicRegistry = 0x00       // Confluent's framing: wire avro
	magicSingle   = 0xC3       // Avro's single-object encoding: fixed schemas in wire json
	magicJSON     = '{'        // raw records in wire json
	singleObject  = "\xC3\x01" // how a single object begins; the schema's fingerprint follows
)

// Unregistered stands where there is no registry (wire json): records of fixed schemas then bear the schema's fingerprint instead of
// an id, in Avro's single-object encoding.
type Unregistered struct{}

var errUnregistered = errors.New("there is no schema registry")

// ID implements Registry.
func (Unregistered) ID(context.Context, string, string) (int, error) { return 0, errUnregistered }

// Schema implements Registry.
func (Unregistered) Schema(context.Context, int) (string, error) { return "", errUnregistered }

// otherForm says that a record is of the other form than the migration's file asks for.
func otherForm(name, written, asked string) error {
	return fault.Fatal(
		fmt.Errorf("%s: written with kafka.wire: %s, but the migration's file says %s; nothing is lost, nothing was read", name, written, asked),
		fmt.Sprintf("a migration keeps the form that it began with: set kafka.wire: %s again, or begin anew under another migration's name", written))
}

// singleHead begins a record of a fixed schema.
func singleHead(schema string) ([]byte, error) {
	form, err := canonicalForm(schema)
	if err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint64([]byte(singleObject), fingerprint(form)), nil
}

// fingerprint is Avro's: CRC-64-AVRO.
func fingerprint(text string) uint64 {
	const empty = 0xc15d213aa4d7a795
	fp := uint64(empty)
	for i := range len(text) {
		fp ^= uint64(text[i])
		for range 8 {
			fp = fp>>1 ^ empty&-(fp&1)
		}
	}
	return fp
}

// canonicalForm is a schema's Parsing Canonical Form by Avro's specification: what two schemas share that read the same bytes in the
// same way.
func canonicalForm(schema string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(schema), &v); err != nil {
		return "", err
	}
	var b strings.Builder
	canonical(&b, v, "")
	return b.String(), nil
}

func canonical(b *strings.Builder, v any, space string) {
	switch s := v.(type) {
	case string:
		writeName(b, s, space)
	case []any:
		separated(b, s, func(item any) { canonical(b, item, space) })
	case map[string]any:
		canonicalObject(b, s, space)
	}
}

func canonicalObject(b *strings.Builder, s map[string]any, space string) {
	kind, _ := s["type"].(string)
	switch kind {
	case "record", "enum":
		name, _ := s["name"].(string)
		if own, ok := s["namespace"].(string); ok {
			space = own
		}
		b.WriteString(`{"name":`)
		writeName(b, name, space)
		b.WriteString(`,"type":"` + kind + `"`)
		if fields, ok := s["fields"].([]any); ok {
			b.WriteString(`,"fields":`)
			separated(b, fields, func(f any) {
				field, _ := f.(map[string]any)
				fieldName, _ := field["name"].(string)
				b.WriteString(`{"name":"` + fieldName + `","type":`)
				canonical(b, field["type"], space)
				b.WriteByte('}')
			})
		}
		if symbols, ok := s["symbols"].([]any); ok {
			b.WriteString(`,"symbols":`)
			separated(b, symbols, func(symbol any) { fmt.Fprintf(b, "%q", symbol) })
		}
		b.WriteByte('}')
	case "array":
		b.WriteString(`{"type":"array","items":`)
		canonical(b, s["items"], space)
		b.WriteByte('}')
	default:
		canonical(b, s["type"], space)
	}
}

// writeName writes a type's name in full.
func writeName(b *strings.Builder, name, space string) {
	switch name {
	case "null", "boolean", "int", "long", "float", "double", "bytes", "string":
	default:
		if space != "" && !strings.Contains(name, ".") {
			name = space + "." + name
		}
	}
	b.WriteString(`"` + name + `"`)
}

func separated(b *strings.Builder, items []any, each func(any)) {
	b.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		each(item)
	}
	b.WriteByte(']')
}
