package wire

import (
	"context"
	"fmt"

	"segue/pkg/change"
	"segue/pkg/request"
	"segue/schemas"
)

// Requests is the codec of the requests topic. It is safe for concurrent use.
type Requests struct{ value *subject }

// NewRequests registers <topic>-value.
func NewRequests(ctx context.Context, reg Registry, topic string) (*Requests, error) {
	value, err := register(ctx, reg, topic+"-value", schemas.Request)
	if err != nil {
		return nil, err
	}
	return &Requests{value: value}, nil
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
	return appendLong(appendBytes(b, r.By), r.Written), nil
}

// DecodeRequest reads a framed record. The keys are slices of b.
func (s *Requests) DecodeRequest(b []byte) (request.Request, error) {
	c, err := s.value.open(b)
	if err != nil {
		return request.Request{}, err
	}
	a := Arena{once: true}
	r := request.Request{ID: c.string(), Kind: request.Kind(c.string()), Table: decodeName(&c)}
	r.Keys = decodeList(&c, func(c *cursor) change.Row { return decodeValues(c, &a) })
	r.By, r.Written = c.string(), c.long()
	if err := c.done(); err != nil {
		return request.Request{}, fmt.Errorf("decode %s: %w", s.value.name, err)
	}
	return r, nil
}
