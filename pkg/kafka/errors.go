package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
)

// ErrSuperseded says that a later claim than the writer's own stands on its frontier topic: another process has
// taken over, nothing that this one writes counts any more. A process with a Seat asks then whose it is, and stands by or claims again.
var ErrSuperseded = errors.New("another process has taken over")

// ErrFingerprint says that the topic was written by another mapping than the consumer's.
var ErrFingerprint = errors.New("the topic was written with another mapping")

// ErrClosed says that the Writer or Reader was closed.
var ErrClosed = errors.New("closed")

func superseded(topic string, own, later int64) error {
	err := fmt.Errorf("write %s with claim %d: claim %d came later: %w", topic, own, later, ErrSuperseded)
	return fault.Fatal(err, "no data is at risk. Processes with the same brokers take turns by themselves: look for one that runs this migration outside of them")
}

const lostHint = "data that Kafka had acknowledged is gone: resync from the source, and see that the topics' " +
	"replication, min.insync.replicas and the brokers' disks are sound"

// lost is an error about records that are gone from Kafka.
func lost(format string, args ...any) error {
	return fault.Fatal(fmt.Errorf(format+": %w", append(args, frontier.ErrLost)...), lostHint)
}

// tooLarge is about a record that cannot even travel as a stub.
func tooLarge(topic string, pos change.Position, size, room int) error {
	return fault.Fatal(fmt.Errorf("write %s at %s: a record of %d bytes, its key among them, and the topic takes %d", topic, pos, size, room),
		"nothing at or behind this position was passed on; raise max.message.bytes of the topic, then start again")
}

// rule marks an error of the pure rules: each of them means lost data or a defect, never something that passes.
func rule(topic string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Fatal(fmt.Errorf("read %s: %w", topic, err), lostHint)
}

// classify sorts what the client library reports. What may pass (a broker that cannot be reached, a leader that moves) is
// transient, what Kafka refuses is fatal. A done context stays what it is.
func classify(err error) error {
	var (
		answer  *kerr.Error
		network net.Error
		loss    *kgo.ErrDataLoss
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &loss), errors.Is(err, kerr.OffsetOutOfRange):
		return fault.Fatal(fmt.Errorf("%w: %w", err, frontier.ErrLost), lostHint)
	case errors.As(err, &answer):
		return answered(answer, err)
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), kgo.IsRetryableBrokerErr(err):
		return fault.Transient(err)
	}
	return fault.Fatal(err, "")
}

func answered(answer *kerr.Error, err error) error {
	switch {
	case errors.Is(answer, kerr.UnknownTopicOrPartition), errors.Is(answer, kerr.UnknownTopicID):
		return fault.Fatal(err, "the topic is gone or was never made: `segue check` names it; topics are made at the start of a migration, never by the broker")
	case answer.Retriable,
		errors.Is(answer, kerr.UnknownServerError), errors.Is(answer, kerr.OutOfOrderSequenceNumber),
		errors.Is(answer, kerr.UnknownProducerID), errors.Is(answer, kerr.InvalidProducerEpoch):
		return fault.Transient(err) // a new incarnation starts with a new producer
	case errors.Is(answer, kerr.MessageTooLarge), errors.Is(answer, kerr.RecordListTooLarge):
		return fault.Fatal(err, "was max.message.bytes of the topic made smaller? Start again: what is larger is parked then, nothing is lost")
	}
	return fault.Fatal(err, "")
}

// fetchError returns the first error in what a poll brought, classified, with the topic and partition that it is about.
func fetchError(fetches kgo.Fetches) error {
	for i := range fetches {
		for j := range fetches[i].Topics {
			t := &fetches[i].Topics[j]
			for k := range t.Partitions {
				p := &t.Partitions[k]
				switch {
				case p.Err == nil:
				case errors.Is(p.Err, kgo.ErrClientClosed):
					return ErrClosed
				case t.Topic == "":
					return classify(p.Err)
				default:
					return classify(fmt.Errorf("read %s/%d: %w", t.Topic, p.Partition, p.Err))
				}
			}
		}
	}
	return nil
}
