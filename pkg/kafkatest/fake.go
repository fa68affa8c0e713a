package kafkatest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Cluster is kfake, closed at the end of the test.
type Cluster struct{ *kfake.Cluster }

// Fake starts a fake broker in this process: one node unless an option says otherwise, no topic made by itself.
func Fake(tb testing.TB, opts ...kfake.Opt) *Cluster {
	tb.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		tb.Fatalf("start a fake Kafka: %v", err)
	}
	tb.Cleanup(c.Close)
	return &Cluster{c}
}

// Brokers is the address that clients take.
func (c *Cluster) Brokers() []string { return c.ListenAddrs() }

// RefuseProduce answers the next n produce requests for the topic ("" means any, n -1 means all until the handle is removed) with the error.
// The records are not written, except with kerr.NotEnoughReplicasAfterAppend and kerr.RequestTimedOut.
func (c *Cluster) RefuseProduce(topic string, err *kerr.Error, n int) *kfake.FaultHandle {
	return c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: err, Count: n})
}

// RefuseFetch answers the next n fetch requests for the topic with the error.
func (c *Cluster) RefuseFetch(topic string, err *kerr.Error, n int) *kfake.FaultHandle {
	return c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: err, Count: n})
}

// DropProduce cuts the connection of the next n produce requests, before the broker has seen them.
func (c *Cluster) DropProduce(n int) {
	c.ControlKey(kmsg.Produce.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		if n--; n > 0 {
			c.KeepControl()
		}
		return nil, errDropped, true
	})
}

type dropped struct{}

func (dropped) Error() string { return "connection dropped by the test" }

var errDropped = dropped{}

// Brokers returns the brokers of a real Kafka: those that SEGUE_TEST_KAFKA names (comma-separated), else a broker of
// this test's own.
func Brokers(tb testing.TB) []string {
	tb.Helper()
	if brokers := os.Getenv("SEGUE_TEST_KAFKA"); brokers != "" {
		return strings.Split(brokers, ",")
	}
	return Real(tb, Config{}).Brokers()
}

// Real starts Apache Kafka for the test (Dir: a temporary folder where it is empty) and ends it with the test.
func Real(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = tb.TempDir()
	}
	s, err := Start(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			tb.Error(err)
		}
	})
	return s
}
