package kafkatest

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Held is a produce request that is on its way to the broker and does not arrive before Release.
type Held struct {
	caught  chan struct{}
	release func()
}

// HoldProduce holds the next produce request for the topic. Requests of other clients pass it by.
func (c *Cluster) HoldProduce(topic string) *Held {
	open := make(chan struct{})
	h := &Held{caught: make(chan struct{}), release: sync.OnceFunc(func() { close(open) })}
	id := c.TopicInfo(topic).TopicID
	c.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		matches := false
		for _, t := range r.(*kmsg.ProduceRequest).Topics {
			matches = matches || t.Topic == topic || t.TopicID == id
		}
		select {
		case <-h.caught: // one is held, and this is another client's
			matches = false
		default:
		}
		if !matches {
			c.KeepControl()
			return nil, nil, false
		}
		close(h.caught)
		c.SleepControl(func() { <-open })
		return nil, nil, false
	})
	return h
}

// Wait waits until a request is held.
func (h *Held) Wait(ctx context.Context) error {
	select {
	case <-h.caught:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release lets the request arrive.
func (h *Held) Release() { h.release() }

// RefuseProducer answers every produce request for the topic with the error, of the one producer that is the first to send one, until the
// handle is removed. What is written nevertheless: see RefuseProduce.
func (c *Cluster) RefuseProducer(topic string, err *kerr.Error) *kfake.FaultHandle {
	var victim *int64
	return c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: err, Count: -1, When: func(r kmsg.Request) bool {
		id, ok := producer(r.(*kmsg.ProduceRequest))
		if ok && victim == nil {
			victim = &id
		}
		return ok && id == *victim
	}})
}

// producer is the producer's ID in the first batch of a request.
func producer(r *kmsg.ProduceRequest) (int64, bool) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			var b kmsg.RecordBatch
			if err := b.ReadFrom(p.Records); err == nil {
				return b.ProducerID, true
			}
		}
	}
	return 0, false
}
