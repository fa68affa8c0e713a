package wire

import (
	"context"

	"segue/pkg/change"
	"segue/pkg/table"
)

// Changes is the codec of one source table's raw topic, in either form: Raw or RawJSON. What one writes, only the same form reads; the
// changes are the same.
type Changes interface {
	AppendKey(dst []byte, row change.Row) ([]byte, error)
	AppendValue(dst []byte, c *change.Change) ([]byte, error)
	Lane(key []byte, partitions int32) int32
	DecodeIn(a *Arena, b []byte, c *change.Change) error
}

// NewChanges compiles the codec of the form that the registry stands for: Avro, or without one JSON.
func NewChanges(ctx context.Context, reg Registry, topic string, t *table.Table, s Source) (Changes, error) {
	if _, ok := reg.(Unregistered); ok {
		return NewRawJSON(topic, t, s)
	}
	return NewRaw(ctx, reg, topic, t, s)
}
