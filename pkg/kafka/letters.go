package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Letter is a record for people's own tools.
type Letter struct {
	Key, Value []byte
	Headers    []LetterHeader
}

// LetterHeader is one header of it, a text.
type LetterHeader struct{ Key, Value string }

// Letters writes to a topic of one partition that people's own tools read. It is for one goroutine.
type Letters struct {
	client *kgo.Client
	topic  string
}

// OpenLetters makes the producer; nothing is sent before the first call.
func OpenLetters(cfg Config, topic string) (*Letters, error) {
	client, err := cfg.client(producerOpts(&limits{request: defaultRequest})...)
	if err != nil {
		return nil, err
	}
	return &Letters{client: client, topic: topic}, nil
}

// Write writes letters in order and returns when Kafka has acknowledged all of them. Behind an error some may have been written, and the
// producer is of no more use.
func (l *Letters) Write(ctx context.Context, letters []Letter) error {
	records := make([]*kgo.Record, len(letters))
	for i := range letters {
		records[i] = &kgo.Record{Topic: l.topic, Key: letters[i].Key, Value: letters[i].Value}
		for _, h := range letters[i].Headers {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
		}
	}
	if err := l.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return classify(fmt.Errorf("write %s: %w", l.topic, err))
	}
	return nil
}

// Close ends the connections.
func (l *Letters) Close() { l.client.Close() }

// lettersKept is how long letters are kept where nobody has set the topic otherwise.
const lettersKept = 30 * 24 * time.Hour

// LettersTopic is such a topic. It is people's own: its settings are Kafka's defaults but for the time that records are kept, and what
// people change is left as it is.
func LettersTopic(name string, replication int16) Topic {
	return Topic{
		Name: name, Partitions: 1, Replication: replication, Foreign: true,
		Settings: map[string]string{"cleanup.policy": "delete", "retention.ms": fmt.Sprint(lettersKept.Milliseconds())},
	}
}
