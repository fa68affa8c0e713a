package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/fault"
	"segue/pkg/frontier"
)

// How long a broker may hold a fetch that finds nothing: it answers at once when something comes. A Reader's is
// shorter, because a lane that is read again after a pause waits for the fetch that was under way without it.
const (
	fetchWait = 500 * time.Millisecond
	laneWait  = 100 * time.Millisecond
)

// tape reads one frontier topic, record by record, without gaps. It is for one goroutine.
type tape struct {
	Items
	codec Codec
}

// newTape starts at an offset on a client that belongs to the caller and consumes nothing else yet.
func newTape(client *kgo.Client, codec Codec, topic string, from int64) *tape {
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}})
	return &tape{Items: Items{client: client, topic: topic, at: from}, codec: codec}
}

// consumerOpts are what every consumer of segue needs: exact offsets, never a reset.
func consumerOpts() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()),
		kgo.FetchMinBytes(1),
		kgo.BrokerMaxReadBytes(mostRead), // a single record may be that large; what is asked for is bounded by FetchMaxBytes
	}
}

// singleOpts are those of a consumer of one partition, which gains nothing from fetch sessions.
func singleOpts() []kgo.Opt {
	return append(consumerOpts(), kgo.FetchMaxWait(fetchWait), kgo.DisableFetchSessions())
}

// next waits for the next record.
func (t *tape) next(ctx context.Context) (frontier.Record, error) {
	item, err := t.Next(ctx)
	if err != nil {
		return frontier.Record{}, err
	}
	return decode(t.codec, t.topic, item)
}

// decode reads a record of a frontier topic.
func decode(codec Codec, topic string, item Item) (frontier.Record, error) {
	rec, err := codec.DecodeFrontier(item.Value)
	if err != nil {
		hint := cmp.Or(fault.HintOf(err), "only segue writes to its topics")
		return frontier.Record{}, fault.Fatal(fmt.Errorf("read %s at offset %d: %w", topic, item.Offset, err), hint)
	}
	rec.Offset = item.Offset
	return rec, nil
}

// fold adds the topic's records below the offset end to the log.
func (t *tape) fold(ctx context.Context, log *frontier.Log, end int64) error {
	for t.at < end {
		rec, err := t.next(ctx)
		if err != nil {
			return err
		}
		if _, err := log.Add(rec); err != nil {
			return rule(t.topic, err)
		}
	}
	return nil
}

// folded reads a frontier topic from its start into a new log, up to the offset that upto makes of the topic's
// bounds. Trimming may move the start while it is read: then it begins again.
func folded(ctx context.Context, client *kgo.Client, codec Codec, topic string, upto func(start, end int64) (int64, error)) (*tape, *frontier.Log, error) {
	for {
		start, end, err := bounds(ctx, client, topic)
		if err != nil {
			return nil, nil, err
		}
		end, err = upto(start, end)
		if err != nil {
			return nil, nil, err
		}
		t, log := newTape(client, codec, topic, start), frontier.NewLog()
		err = t.fold(ctx, log, end)
		if err == nil || !errors.Is(err, kerr.OffsetOutOfRange) {
			return t, log, err
		}
		if now, _, again := bounds(ctx, client, topic); again != nil || now <= start {
			return nil, nil, errors.Join(err, again)
		}
		client.PurgeTopicsFromConsuming(topic)
	}
}

// bounds returns the first offset of a frontier topic and the one behind its last record.
func bounds(ctx context.Context, client *kgo.Client, topic string) (start, end int64, err error) {
	admin := kadm.NewClient(client)
	starts, err := offsets(admin.ListStartOffsets(ctx, topic))
	if err != nil {
		return 0, 0, err
	}
	ends, err := offsets(admin.ListEndOffsets(ctx, topic))
	if err != nil {
		return 0, 0, err
	}
	return starts[topic][0], ends[topic][0], nil
}

// Offsets holds one offset per topic and partition.
type Offsets map[string]map[int32]int64

func offsets(list kadm.ListedOffsets, err error) (Offsets, error) {
	if err != nil {
		return nil, classify(fmt.Errorf("list offsets: %w", err))
	}
	out := make(Offsets, len(list))
	for topic, partitions := range list {
		out[topic] = make(map[int32]int64, len(partitions))
		for n, p := range partitions {
			if p.Err != nil {
				return nil, classify(fmt.Errorf("list offsets of %s/%d: %w", topic, n, p.Err))
			}
			out[topic][n] = p.Offset
		}
	}
	return out, nil
}
