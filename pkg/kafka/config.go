package kafka

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
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
		kgo.MetadataMinAge(100 * time.Millisecond), // a moved leader is found soon
		kgo.RetryBackoffFn(backoff),
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

// backoff doubles from 50 ms to 2 s, with a quarter of chance so that several processes do not knock in step.
func backoff(fails int) time.Duration {
	d := 2 * time.Second
	if fails < 7 {
		d = min(d, 25*time.Millisecond<<fails)
	}
	return d - time.Duration(rand.Int64N(int64(d)/4))
}
