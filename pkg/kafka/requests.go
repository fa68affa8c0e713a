package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Requests writes to a topic of one partition whose records must be durable before the caller goes on: requests, dead letters.
type Requests struct {
	client *kgo.Client
	topic  string
}

// OpenRequests makes the producer; nothing is sent before the first call.
func OpenRequests(cfg Config, topic string) (*Requests, error) {
	client, err := cfg.client(producerOpts(&limits{request: defaultRequest})...)
	if err != nil {
		return nil, err
	}
	return &Requests{client: client, topic: topic}, nil
}

// Produce writes the values in order and returns when Kafka has acknowledged all of them. After an error some may have
// been written: requests are asked again, their answers are the same.
func (r *Requests) Produce(ctx context.Context, values ...[]byte) error {
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Topic: r.topic, Value: v}
	}
	if err := r.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return classify(fmt.Errorf("write %s: %w", r.topic, err))
	}
	return nil
}

// Put writes one value and returns its offset when Kafka has acknowledged it.
func (r *Requests) Put(ctx context.Context, value []byte) (int64, error) {
	record, err := r.client.ProduceSync(ctx, &kgo.Record{Topic: r.topic, Value: value}).First()
	if err != nil {
		return 0, classify(fmt.Errorf("write %s: %w", r.topic, err))
	}
	return record.Offset, nil
}

// Close ends the connections.
func (r *Requests) Close() { r.client.Close() }
