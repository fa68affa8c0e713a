package kafkatest

import (
	"encoding/json"

	"segue/pkg/frontier"
)

// Codec writes frontier records as JSON, for tests that want no registry.
type Codec struct{}

// EncodeFrontier implements kafka.Codec.
func (Codec) EncodeFrontier(r frontier.Record) ([]byte, error) { return json.Marshal(r) }

// DecodeFrontier implements kafka.Codec.
func (Codec) DecodeFrontier(b []byte) (frontier.Record, error) {
	var r frontier.Record
	err := json.Unmarshal(b, &r)
	return r, err
}
