package kafka_test

import (
	"context"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// The record of every position is found, also where a writer was taken over and its records were written again; what is trimmed is said to be.
func TestFindTheRecordOfAPosition(t *testing.T) {
	r, c := fakeRig(t)
	r.pace = kafka.Pace{Full: 1}
	w := r.writer()
	for n := range 10 {
		r.mustTx(w, uint64(n+1), 6)
	}
	r.mustPart(w, 11, 1, 4) // a part of a transaction, which the next writer writes again
	r.awaitValid(w, at(10, 6))
	crash(w)
	w = r.writer()
	for n := uint64(11); n <= 20; n++ {
		r.mustTx(w, n, 6)
	}
	r.awaitValid(w, at(20, 6))
	topics := map[string]bool{}
	for _, lane := range r.lanes {
		topics[r.laneTopic(lane.Table)] = true
	}
	find := func(pos change.Position) (found *kafka.LaneRecord, trimmed int) {
		t.Helper()
		for topic := range topics {
			one, gone, err := kafka.Find(r.ctx(), r.cfg, topic, pos)
			if err != nil {
				t.Fatal(err)
			}
			if one != nil {
				found = one
			}
			if gone {
				trimmed++
			}
		}
		return found, trimmed
	}
	newest := int64(0)
	for lsn := uint64(1); lsn <= 20; lsn++ {
		for seq := uint64(1); seq <= 6; seq++ {
			found, trimmed := find(at(lsn, seq))
			if found == nil || trimmed > 0 {
				t.Fatalf("%d/%d: %v, trimmed %d", lsn, seq, found, trimmed)
			}
			newest = max(newest, found.Incarnation)
			if lsn > 10 && found.Incarnation != newest {
				t.Errorf("%d/%d: the record of a writer that was taken over", lsn, seq)
			}
		}
	}
	if found, trimmed := find(at(21, 1)); found != nil || trimmed > 0 {
		t.Errorf("a position that was never written: %v, trimmed %d", found, trimmed)
	}

	m := &model{}
	r.consume(r.reader(nothing), m, at(12, 6))
	trimmer, err := kafka.OpenTrimmer(kafka.TrimConfig{
		Kafka: r.cfg, Codec: kafkatest.Codec{}, Interval: time.Hour, Hops: []kafka.Hop{{FrontierTopic: r.frontierTopic(), LaneTopic: r.laneTopic}},
		Applied: func(context.Context) (frontier.Cursor, error) { return m.cursor, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer trimmer.Close()
	if err := trimmer.Trim(r.ctx()); err != nil {
		t.Fatal(err)
	}
	if c.PartitionInfo(r.laneTopic("public.t1"), 1).LogStartOffset == 0 {
		t.Fatal("nothing is trimmed")
	}
	if found, trimmed := find(at(3, 2)); found != nil || trimmed == 0 {
		t.Errorf("behind trimming: %v, trimmed %d", found, trimmed)
	}
	if found, _ := find(at(18, 2)); found == nil {
		t.Error("what is left is not found")
	}
}
