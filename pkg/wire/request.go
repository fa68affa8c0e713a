package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"segue/pkg/change"
	"segue/pkg/request"
	"segue/schemas"
)

// Requests is the codec of the requests topic. It is safe for concurrent use.
type Requests struct{ value, former *subject }

// NewRequests registers <topic>-value.
func NewRequests(ctx context.Context, reg Registry, topic string) (*Requests, error) {
	value, err := register(ctx, reg, topic+"-value", schemas.Request)
	if err != nil {
		return nil, err
	}
	former, err := formerRequest(reg, value.name)
	if err != nil {
		return nil, err
	}
	return &Requests{value: value, former: former}, nil
}

// formerRequest reads requests that were written before predicates were there: they may still wait to be answered. Nothing is written by it, so it
// is not registered, and known by its text alone.
func formerRequest(reg Registry, name string) (*subject, error) {
	text, err := without(schemas.Request, "where")
	if err != nil {
		return nil, err
	}
	s := &subject{reg: reg, name: name, text: text, head: []byte{magicRegistry, 0xFF, 0xFF, 0xFF, 0xFF}, id: 1<<32 - 1, known: map[uint32]error{}}
	if _, ok := reg.(Unregistered); ok {
		s.reg = nil
		s.head, err = singleHead(text)
	}
	return s, err
}

// without is a record's schema as it was before a field was added.
func without(schema, field string) (string, error) {
	var record map[string]any
	if err := json.Unmarshal([]byte(schema), &record); err != nil {
		return "", err
	}
	fields, _ := record["fields"].([]any)
	record["fields"] = slices.DeleteFunc(fields, func(f any) bool {
		properties, _ := f.(map[string]any)
		return properties["name"] == field
	})
	text, err := json.Marshal(record)
	return string(text), err
}

// EncodeRequest returns the framed record.
func (s *Requests) EncodeRequest(r request.Request) ([]byte, error) {
	b := s.value.frame(nil)
	b = appendBytes(appendBytes(b, r.ID), string(r.Kind))
	b = appendName(b, r.Table)
	b = appendCount(b, len(r.Keys))
	for _, key := range r.Keys {
		b = appendValues(b, key)
	}
	b = appendEnd(b, len(r.Keys))
	return appendBytes(appendLong(appendBytes(b, r.By), r.Written), r.Where), nil
}

// DecodeRequest reads a framed record. The keys are slices of b.
func (s *Requests) DecodeRequest(b []byte) (request.Request, error) {
	c, err := s.value.open(b)
	was := false
	if err != nil {
		var former error
		if c, former = s.former.open(b); former != nil {
			return request.Request{}, err
		}
		was = true
	}
	a := Arena{once: true}
	r := request.Request{ID: c.string(), Kind: request.Kind(c.string()), Table: decodeName(&c)}
	r.Keys = decodeList(&c, func(c *cursor) change.Row { return decodeValues(c, &a) })
	r.By, r.Written = c.string(), c.long()
	if !was {
		r.Where = c.string()
	}
	if err := c.done(); err != nil {
		return request.Request{}, fmt.Errorf("decode %s: %w", s.value.name, err)
	}
	return r, nil
}
