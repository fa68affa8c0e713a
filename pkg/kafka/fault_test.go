package kafka_test

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
)

// A batch that the broker refuses breaks the writer for good, although later ones may have been taken.
func TestRefusedBatchBreaksTheWriter(t *testing.T) {
	r, c := fakeRig(t)
	w := r.writer()
	r.mustTx(w, 1, 3)
	r.awaitValid(w, at(1, 3))
	c.RefuseProduce(r.laneTopic("public.t0"), kerr.InvalidRecord, 1)
	_ = r.tx(w, 2, 6, true) // the refusal may come while it is written
	if err := r.awaitBroken(w); !errors.Is(err, kerr.InvalidRecord) || fault.ClassOf(err) != fault.ClassFatal {
		t.Fatalf("the writer broke with %v", err)
	}
	if err := w.Append(r.ctx(), 0, at(3, 1), nil, nil); !errors.Is(err, kerr.InvalidRecord) {
		t.Errorf("a broken writer's Append says %v", err)
	}
	w = r.writer()
	if s := w.Resumed(); s.At != at(1, 3) {
		t.Fatalf("resumed at %s: a frontier counted what was refused", s.At)
	}
	r.mustTx(w, 2, 6)
	m := &model{}
	r.consume(r.reader(nothing), m, at(2, 6))
	if err := isHistory(m.committed, 3, 6); err != nil {
		t.Error(err)
	}
}

// What a broker answers late, twice or not at all is tried again under the same sequence numbers: once in the lanes.
func TestRetriesWriteNothingTwice(t *testing.T) {
	for name, refuse := range map[string]*kerr.Error{
		"before the append": kerr.NotEnoughReplicas, "after the append": kerr.NotEnoughReplicasAfterAppend, "timeout": kerr.RequestTimedOut,
	} {
		t.Run(name, func(t *testing.T) {
			r, c := fakeRig(t)
			w := r.writer()
			c.RefuseProduce("", refuse, 3)
			r.mustTx(w, 1, 40)
			r.mustTx(w, 2, 40)
			r.awaitValid(w, at(2, 40))
			m := &model{}
			r.consume(r.reader(nothing), m, at(2, 40))
			if err := isHistory(m.committed, 40, 40); err != nil {
				t.Error(err)
			}
		})
	}
}

// An acknowledgement that comes after Reclaim belongs to the book that was closed.
func TestReclaimForgetsWhatIsStillInFlight(t *testing.T) {
	r, c := fakeRig(t)
	w := r.writer()
	r.mustTx(w, 1, 2)
	r.awaitValid(w, at(1, 2))
	held := c.RefuseProduce(r.laneTopic("public.t0"), kerr.NotEnoughReplicas, -1)
	for seq := uint64(1); seq <= 5; seq++ {
		if err := w.Append(r.ctx(), 0, at(2, seq), nil, value(at(2, seq))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Reclaim(r.ctx(), 0); err != nil {
		t.Fatal(err)
	}
	r.mustTx(w, 2, 6)
	held.Remove()
	r.awaitValid(w, at(2, 6))
	m := &model{}
	r.consume(r.reader(nothing), m, at(2, 6))
	if err := isHistory(m.committed, 2, 6); err != nil {
		t.Error(err)
	}
}

// A boundary that is offered while a frontier is in flight is cut by the timer, although later changes stand behind it.
func TestTimerCutsAtTheLastOfferedBoundary(t *testing.T) {
	r, c := fakeRig(t)
	r.pace = kafka.Pace{Changes: 1 << 30, Bytes: 1 << 40}
	w := r.writer()
	held := c.RefuseProduce(r.frontierTopic(), kerr.NotEnoughReplicas, -1)
	r.mustTx(w, 1, 3) // its frontier stays in flight
	for lsn := uint64(2); lsn <= 4; lsn++ {
		if err := r.tx(w, lsn, 3, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Append(r.ctx(), 0, at(5, 1), nil, value(at(5, 1))); err != nil {
		t.Fatal(err)
	}
	if err := held.Wait(r.ctx(), 3); err != nil {
		t.Fatal(err)
	}
	held.Remove()
	if f := r.awaitValid(w, at(4, 3)); f.Frontier.At != at(4, 3) {
		t.Errorf("cut at %s", f.Frontier.At)
	}
	m := &model{}
	r.consume(r.reader(nothing), m, at(4, 3))
	if err := isHistory(m.committed, 3, 3, 3, 3); err != nil {
		t.Error(err)
	}
}

// P1: a lane shorter than the last frontier says is lost data; nobody is taken over from to find that out.
func TestShortLaneIsLostData(t *testing.T) {
	r, c := fakeRig(t)
	w := r.writer()
	r.mustTx(w, 1, 12)
	r.awaitValid(w, at(1, 12))
	m := &model{}
	r.consume(r.reader(nothing), m, at(1, 12))
	crash(w)
	topic := r.laneTopic("public.t1")
	if err := c.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(topic, partitions, nil); err != nil {
		t.Fatal(err)
	}
	end := c.PartitionInfo(r.frontierTopic(), 0).HighWatermark
	_, err := kafka.OpenWriter(r.ctx(), r.writerConfig())
	wantLost(t, err)
	_, err = kafka.OpenReader(r.ctx(), r.readerConfig(m.cursor))
	wantLost(t, err)
	if now := c.PartitionInfo(r.frontierTopic(), 0).HighWatermark; now != end {
		t.Errorf("the writer wrote a claim before it looked at the lanes")
	}
}

func wantLost(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, frontier.ErrLost) || fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" {
		t.Errorf("got %v (%s, hint %q), want a fatal loss of data with a hint", err, fault.ClassOf(err), fault.HintOf(err))
	}
}

// P1: an offset out of range is fatal, never a jump.
func TestOffsetOutOfRangeIsFatal(t *testing.T) {
	r, c := fakeRig(t)
	w := r.writer()
	r.mustTx(w, 1, 12)
	r.mustTx(w, 2, 12)
	r.awaitValid(w, at(2, 12))
	if err := c.DeleteRecords(r.laneTopic("public.t0"), 0, 1); err != nil {
		t.Fatal(err)
	}
	rd := r.reader(nothing)
	m := &model{}
	for {
		e, err := rd.Next(r.ctx())
		if err != nil {
			wantLost(t, err)
			break
		}
		if err := m.take(e); err != nil {
			t.Fatal(err)
		}
		if len(m.committed) > 0 {
			t.Fatalf("the reader jumped over what is gone and committed %s", m.committed[0])
		}
	}
	if _, err := rd.Next(r.ctx()); err == nil {
		t.Error("the reader goes on after a loss")
	}
	// The frontier topic, likewise.
	if err := c.DeleteRecords(r.frontierTopic(), 0, 1); err != nil {
		t.Fatal(err)
	}
	_, err := kafka.OpenReader(r.ctx(), r.readerConfig(nothing))
	wantLost(t, err)
}

func TestReaderRefusesAnotherTopicsCursor(t *testing.T) {
	r, _ := fakeRig(t)
	w := r.writer()
	r.mustTx(w, 1, 3)
	f := r.awaitValid(w, at(1, 3))
	good := frontier.Cursor{Offset: f.Offset, Incarnation: f.Frontier.Incarnation, At: f.Frontier.At}
	if _, err := kafka.OpenReader(r.ctx(), r.readerConfig(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*frontier.Cursor){
		"position":    func(c *frontier.Cursor) { c.At = at(9, 9) },
		"incarnation": func(c *frontier.Cursor) { c.Incarnation++ },
		"offset":      func(c *frontier.Cursor) { c.Offset-- },
		"beyond":      func(c *frontier.Cursor) { c.Offset++ },
	} {
		cursor := good
		change(&cursor)
		if _, err := kafka.OpenReader(r.ctx(), r.readerConfig(cursor)); err == nil || fault.ClassOf(err) != fault.ClassFatal {
			t.Errorf("another %s: got %v", name, err)
		}
	}
}

func TestReaderStopsAtAnotherMapping(t *testing.T) {
	r, _ := fakeRig(t)
	w := r.writer()
	r.mustTx(w, 1, 3)
	r.awaitValid(w, at(1, 3))
	cfg := r.readerConfig(nothing)
	cfg.Fingerprint = "f2"
	rd, err := kafka.OpenReader(r.ctx(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	if e, err := rd.Next(r.ctx()); err != nil || e.Claim == nil {
		t.Fatalf("first event: %v", err)
	}
	if _, err := rd.Next(r.ctx()); !errors.Is(err, kafka.ErrFingerprint) || fault.ClassOf(err) != fault.ClassFatal {
		t.Errorf("a batch of another mapping: %v", err)
	}
}
