package kafka

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"segue/pkg/frontier"
)

// Config says how to reach Kafka.
type Config struct {
	Brokers  []string
	TLS      *tls.Config
	SASL     sasl.Mechanism
	ClientID string
}

// Codec turns frontier records into bytes and back. Offset is not part of the bytes.
type Codec interface {
	EncodeFrontier(frontier.Record) ([]byte, error)
	DecodeFrontier([]byte) (frontier.Record, error)
}

// client makes a client without touching the network.
func (c Config) client(opts ...kgo.Opt) (*kgo.Client, error) {
	all := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.MetadataMinAge(250 * time.Millisecond), // a moved leader is found soon
	}
	if c.ClientID != "" {
		all = append(all, kgo.ClientID(c.ClientID))
	}
	if c.TLS != nil {
		all = append(all, kgo.DialTLSConfig(c.TLS))
	}
	if c.SASL != nil {
		all = append(all, kgo.SASL(c.SASL))
	}
	client, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("configure the kafka client: %w", err)
	}
	return client, nil
}
