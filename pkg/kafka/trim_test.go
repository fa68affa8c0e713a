package kafka_test

import (
	"context"
	"testing"
	"time"

	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// What is applied is trimmed hop by hop, and everybody can still resume; what is not applied stays.
func TestTrimLeavesWhatEverybodyResumesAt(t *testing.T) {
	raw, c := fakeRig(t)
	raw.pace = kafka.Pace{Full: 1} // every boundary lists all lanes
	shaped := newRig(t, c.Brokers(), "shaped")
	shaped.pace = raw.pace
	w := raw.writer()
	stop := running(t, relay(raw, shaped, nil))
	for n := range 20 {
		raw.mustTx(w, uint64(n+1), 6)
	}
	m := &model{}
	shaped.consume(shaped.reader(nothing), m, at(12, 6))

	trimmer, err := kafka.OpenTrimmer(kafka.TrimConfig{
		Kafka: raw.cfg, Codec: kafkatest.Codec{}, Interval: time.Hour,
		Hops: []kafka.Hop{
			{FrontierTopic: shaped.frontierTopic(), LaneTopic: shaped.laneTopic},
			{FrontierTopic: raw.frontierTopic(), LaneTopic: raw.laneTopic},
		},
		Applied: func(context.Context) (frontier.Cursor, error) { return m.cursor, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer trimmer.Close()
	if err := trimmer.Trim(raw.ctx()); err != nil {
		t.Fatal(err)
	}
	if got := c.PartitionInfo(shaped.frontierTopic(), 0).LogStartOffset; got != m.cursor.Offset {
		t.Errorf("the last hop begins at %d, applied is %d", got, m.cursor.Offset)
	}
	// 12 transactions of 6 changes over 6 lanes in turn: each lane has lost 12.
	for _, r := range []*rig{shaped, raw} {
		if got := c.PartitionInfo(r.laneTopic("public.t1"), 1).LogStartOffset; got != 12 {
			t.Errorf("%s: a lane begins at %d, want 12", r.stage, got)
		}
	}

	// Everybody resumes.
	_ = stop()
	crash(w)
	w = raw.writer()
	if s := w.Resumed(); s.At != at(20, 6) {
		t.Fatalf("resumed at %s behind a trimmed topic", s.At)
	}
	stop = running(t, relay(raw, shaped, nil))
	raw.mustTx(w, 21, 6)
	shaped.consume(shaped.reader(m.cursor), m, at(21, 6))
	if err := isHistory(m.committed, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6); err != nil {
		t.Error(err)
	}
	if err := trimmer.Trim(raw.ctx()); err != nil {
		t.Fatal(err)
	}
	if got := c.PartitionInfo(raw.laneTopic("public.t1"), 1).LogStartOffset; got < 20 {
		t.Errorf("the second trim left a lane at %d", got)
	}
	_ = stop()
	// Who has nothing yet cannot begin on a trimmed topic.
	_, err = kafka.OpenReader(raw.ctx(), raw.readerConfig(nothing))
	wantLost(t, err)
}

// The window stays, and so does everything while nothing is applied.
func TestTrimKeepsTheWindow(t *testing.T) {
	raw, c := fakeRig(t)
	raw.pace = kafka.Pace{Full: 1}
	w := raw.writer()
	for n := range 5 {
		raw.mustTx(w, uint64(n+1), 6)
	}
	raw.awaitValid(w, at(5, 6))
	m := &model{}
	raw.consume(raw.reader(nothing), m, at(5, 6))
	applied := nothing
	trim := func(window time.Duration) {
		t.Helper()
		trimmer, err := kafka.OpenTrimmer(kafka.TrimConfig{
			Kafka: raw.cfg, Codec: kafkatest.Codec{}, Window: window,
			Hops:    []kafka.Hop{{FrontierTopic: raw.frontierTopic(), LaneTopic: raw.laneTopic}},
			Applied: func(context.Context) (frontier.Cursor, error) { return applied, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer trimmer.Close()
		if err := trimmer.Trim(raw.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	start := func() int64 { return c.PartitionInfo(raw.frontierTopic(), 0).LogStartOffset }
	if trim(0); start() != 0 {
		t.Errorf("nothing is applied, the topic begins at %d", start())
	}
	applied = m.cursor
	if trim(time.Hour); start() != 0 {
		t.Errorf("everything is in the window, the topic begins at %d", start())
	}
	if trim(0); start() == 0 {
		t.Error("nothing was trimmed")
	}
}

// Where a topic stands is told from its end, exactly: zombies and open transactions do not count.
func TestLatestReadsTheEnd(t *testing.T) {
	r, _ := fakeRig(t)
	r.pace = kafka.Pace{Full: time.Hour}
	s, err := kafka.Latest(t.Context(), r.cfg, kafkatest.Codec{}, r.frontierTopic())
	if err != nil || s.Claim != -1 || s.Last != nil || s.State.Offset != -1 {
		t.Fatalf("an empty topic stands at %+v: %v", s, err)
	}
	w := r.writer()
	for n := range 3000 { // further back than the first attempt looks
		r.mustTx(w, uint64(n+1), 1)
	}
	r.awaitValid(w, at(3000, 1))
	old := w
	w = r.writer() // a claim that no boundary follows yet
	_ = r.tx(old, 3001, 1, true)
	r.mustPart(w, 3001, 0, 1)
	follower, err := kafka.Follow(t.Context(), r.cfg, kafkatest.Codec{}, r.frontierTopic())
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	s = follower.Standing()
	if s.State.At != at(3000, 1) || s.Claim != w.Incarnation() {
		t.Errorf("the topic stands at %s, claim %d, want 1:0/BB8#1, claim %d", s.State.At, s.Claim, w.Incarnation())
	}
	var total int64
	for _, e := range s.State.Lanes {
		total += e.Total
	}
	if total != 3000 {
		t.Errorf("%d changes in all lanes, want 3000", total)
	}
	r.mustPart(w, 3001, 1, 2)
	if err := w.Cut(r.ctx(), frontier.Cut{At: at(3001, 2), Boundary: true}, true); err != nil {
		t.Fatal(err)
	}
	r.awaitValid(w, at(3001, 2))
	if err := follower.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s = follower.Standing(); s.State.At != at(3001, 2) || s.Last.At != at(3001, 2) {
		t.Errorf("after an update the topic stands at %s", s.State.At)
	}
}
