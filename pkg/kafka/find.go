package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/change"
)

// LaneRecord is the lane record of a position.
type LaneRecord struct {
	Partition   int32
	Offset      int64
	Incarnation int64
	Value       []byte
}

// The bounds of the look around the place where a position should be: writers that were taken over leave records that go back by a few.
const (
	findRecords = 2000
	findBytes   = 64 << 20
)

// Find looks for the record of a position in a lane topic, in all its partitions, by halving: but for what writers wrote again, positions
// grow in a partition. Of several it is the newest writer's. Nil: there is none; trimmed says that records that old are deleted.
func Find(ctx context.Context, cfg Config, topic string, at change.Position) (found *LaneRecord, trimmed bool, err error) {
	starts, ends, err := laneBounds(ctx, cfg, topic)
	if err != nil {
		return nil, false, err
	}
	for partition, end := range ends {
		f := finding{cfg: cfg, topic: topic, partition: partition, at: at}
		start := starts[partition]
		place, err := f.place(ctx, start, end)
		if err != nil {
			return nil, false, err
		}
		trimmed = trimmed || start > 0 && place == start
		one, err := f.around(ctx, place, end)
		if err != nil {
			return nil, false, err
		}
		if one != nil && (found == nil || one.Incarnation > found.Incarnation) {
			found = one
		}
	}
	return found, trimmed && found == nil, nil
}

func laneBounds(ctx context.Context, cfg Config, topic string) (starts, ends map[int32]int64, err error) {
	client, err := cfg.client()
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	first, err := offsets(admin.ListStartOffsets(ctx, topic))
	if err != nil {
		return nil, nil, err
	}
	last, err := offsets(admin.ListEndOffsets(ctx, topic))
	return first[topic], last[topic], err
}

// finding is one partition's part of a search.
type finding struct {
	cfg       Config
	topic     string
	partition int32
	at        change.Position
}

// place is an offset in front of which positions are lower; end where all are.
func (f *finding) place(ctx context.Context, start, end int64) (int64, error) {
	for start < end {
		middle := start + (end-start)/2
		var pos change.Position
		err := f.read(ctx, middle, func(_ *kgo.Record, _ int64, at change.Position) bool {
			pos = at
			return false
		})
		if err != nil {
			return 0, err
		}
		if pos.Before(f.at) {
			start = middle + 1
		} else {
			end = middle
		}
	}
	return start, nil
}

// around reads on from a place.
func (f *finding) around(ctx context.Context, place, end int64) (found *LaneRecord, err error) {
	if place >= end {
		return nil, nil
	}
	end = min(end, place+findRecords)
	size := 0
	err = f.read(ctx, place, func(r *kgo.Record, incarnation int64, at change.Position) bool {
		if at == f.at && (found == nil || incarnation >= found.Incarnation) {
			found = &LaneRecord{Partition: f.partition, Offset: r.Offset, Incarnation: incarnation, Value: r.Value}
		}
		size += len(r.Value)
		return r.Offset+1 < end && size < findBytes
	})
	return found, err
}

// read hands records on from an offset on, which must be there, until each says that it is enough.
func (f *finding) read(ctx context.Context, from int64, each func(*kgo.Record, int64, change.Position) bool) error {
	client, err := f.cfg.client(append(singleOpts(), kgo.FetchMaxBytes(4<<20),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{f.topic: {f.partition: kgo.NewOffset().At(from)}}))...)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, 0)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := fetchError(fetches); err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			incarnation, pos, err := header(r)
			if err != nil {
				return fmt.Errorf("look for %s: %w", f.at, err)
			}
			if !each(r, incarnation, pos) {
				return nil
			}
		}
	}
}
