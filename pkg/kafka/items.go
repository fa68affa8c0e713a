package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Item is one record of a topic that is read from an offset on.
type Item struct {
	Offset int64
	Value  []byte
}

// Items reads a topic of one partition, in order and without gaps. It is for one goroutine.
type Items struct {
	client *kgo.Client
	topic  string
	at     int64         // the next offset
	got    []*kgo.Record // fetched and not yet handed on
	err    error         // to be told when got is used up
}

// OpenItems starts at an offset, which must be there: an offset out of range is an error at the first Next.
func OpenItems(cfg Config, topic string, from int64) (*Items, error) {
	client, err := cfg.client(append(singleOpts(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}),
		kgo.FetchMaxBytes(4<<20))...)
	if err != nil {
		return nil, err
	}
	return &Items{client: client, topic: topic, at: from}, nil
}

// Next waits for the next record.
func (s *Items) Next(ctx context.Context) (Item, error) {
	for len(s.got) == 0 {
		if s.err != nil {
			return Item{}, s.err
		}
		if err := ctx.Err(); err != nil {
			return Item{}, err
		}
		s.take(s.client.PollRecords(ctx, 0), ctx.Err() == nil)
	}
	r := s.got[0]
	s.got = s.got[1:]
	if r.Offset != s.at {
		s.err, s.got = lost("read %s: offset %d follows %d", s.topic, r.Offset, s.at-1), nil
		return Item{}, s.err
	}
	s.at++
	return Item{Offset: r.Offset, Value: r.Value}, nil
}

// Ready says whether Next would return at once.
func (s *Items) Ready() bool {
	if len(s.got) == 0 && s.err == nil {
		s.take(s.client.PollRecords(nil, 0), true) //nolint:staticcheck // nil: do not wait
	}
	return len(s.got) > 0 || s.err != nil
}

// take keeps what a poll brought. The end of the caller's context is among its errors and is not the topic's.
func (s *Items) take(fetches kgo.Fetches, whole bool) {
	s.got = fetches.Records()
	if whole {
		s.err = fetchError(fetches)
	}
}

// Close ends the connections.
func (s *Items) Close() { s.client.Close() }
