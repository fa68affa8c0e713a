package kafka_test

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// What an older process has sent may arrive at any time after another one has taken over. Here it is held on its way, and let through at the
// worst moment.

func (r *rig) caught(h *kafkatest.Held) {
	r.t.Helper()
	if err := h.Wait(r.ctx()); err != nil {
		r.t.Fatalf("nothing was sent that could be held: %v", err)
	}
}

// only wants a consumer to see exactly the transactions of these sizes.
func (r *rig) only(sizes ...int) {
	r.t.Helper()
	m := &model{}
	n := len(sizes)
	r.consume(r.reader(nothing), m, at(uint64(n), uint64(sizes[n-1])))
	if err := isHistory(m.committed, sizes...); err != nil {
		r.t.Error(err)
	}
}

func wantSuperseded(t *testing.T, r *rig, w *kafka.Writer) {
	t.Helper()
	if err := r.awaitBroken(w); !errors.Is(err, kafka.ErrSuperseded) {
		t.Errorf("the writer ends with %v, want ErrSuperseded", err)
	}
}

// P1: frontiers that were under way when another process claimed land behind that claim, and count for nothing.
func TestDelayedFrontierIsVoid(t *testing.T) {
	r, c := fakeRig(t)
	old := r.writer()
	r.mustTx(old, 1, 5)
	r.awaitValid(old, at(1, 5))
	held := c.HoldProduce(r.frontierTopic())
	r.mustTx(old, 2, 9)
	r.caught(held)
	young := r.writer()
	if at1 := young.Resumed().At; at1 != at(1, 5) {
		t.Fatalf("resumed at %s", at1)
	}
	r.mustTx(young, 2, 3)
	r.awaitValid(young, at(2, 3))
	held.Release()
	wantSuperseded(t, r, old)
	select {
	case f := <-old.Valid():
		t.Errorf("the older process may acknowledge its input up to %s", f.Frontier.At)
	default:
	}
	r.mustTx(young, 3, 2)
	r.awaitValid(young, at(3, 2))
	r.only(5, 3, 2)
}

// P1: changes that were under way land between the newer process's own changes on the same lane.
func TestDelayedChangesAreVoid(t *testing.T) {
	r, c := fakeRig(t)
	old := r.writer()
	r.mustTx(old, 1, 5)
	r.awaitValid(old, at(1, 5))
	topic := r.laneTopic("public.t0")
	length := func() int64 {
		return c.PartitionInfo(topic, 0).HighWatermark + c.PartitionInfo(topic, 1).HighWatermark
	}
	before := length()
	held := c.HoldProduce(topic)
	if err := r.tx(old, 2, 12, true); err != nil {
		t.Fatal(err)
	}
	r.caught(held)
	young := r.writer()
	r.mustPart(young, 2, 0, 6)
	const own = 2 // of six changes in a row two are this table's
	eventually(t, "the newer one's changes stand on the lane", func() bool { return length() == before+own })
	held.Release()
	eventually(t, "the older one's stand behind them", func() bool { return length() > before+own })
	for seq := uint64(7); seq <= 12; seq++ {
		if err := young.Append(r.ctx(), r.laneOf(at(2, seq)), at(2, seq), key(at(2, seq)), value(at(2, seq))); err != nil {
			t.Fatal(err)
		}
	}
	if err := young.Cut(r.ctx(), boundary(2, 12), true); err != nil {
		t.Fatal(err)
	}
	r.awaitValid(young, at(2, 12))
	wantSuperseded(t, r, old)
	r.only(5, 12)
}

// P3: a claim that was under way for long lands behind the newer process's claim and voids what follows, although Kafka acknowledges it: the input is
// not acknowledged, the writer ends, and the next one writes it again.
func TestDelayedClaimVoidsWhatFollows(t *testing.T) {
	r, c := fakeRig(t)
	held := c.HoldProduce(r.frontierTopic())
	opened := make(chan *kafka.Writer, 1)
	go func() {
		w, err := kafka.OpenWriter(r.ctx(), r.writerConfig())
		if err != nil {
			t.Error(err)
		}
		opened <- w
	}()
	r.caught(held)
	young := r.writer()
	r.mustTx(young, 1, 4)
	r.awaitValid(young, at(1, 4))
	late := c.HoldProduce(r.frontierTopic())
	r.mustTx(young, 2, 9)
	r.caught(late)
	held.Release()
	old := <-opened // its claim stands on the topic
	if old == nil {
		t.FailNow()
	}
	defer crash(old)
	if from := old.Resumed().At; from != at(1, 4) {
		t.Errorf("the older process resumes at %s: it claimed before it looked", from)
	}
	late.Release()
	wantSuperseded(t, r, young)
	select {
	case f := <-young.Valid():
		t.Errorf("the input may be acknowledged up to %s, which counts for nothing", f.Frontier.At)
	default:
	}
	crash(old)
	next := r.writer()
	if from := next.Resumed().At; from != at(1, 4) {
		t.Fatalf("resumed at %s", from)
	}
	r.mustTx(next, 2, 3)
	r.awaitValid(next, at(2, 3))
	r.only(4, 3)
}

// Batches that the broker refuses, or of which it does not say whether they are written, are tried again by a process that has been taken over from.
func TestRefusedBatchesOutliveATakeover(t *testing.T) {
	for name, refuse := range map[string]*kerr.Error{
		"too few replicas": kerr.NotEnoughReplicas, "too few replicas, written": kerr.NotEnoughReplicasAfterAppend,
		"timeout, written": kerr.RequestTimedOut, "out of order": kerr.OutOfOrderSequenceNumber,
	} {
		for _, lanes := range []bool{true, false} {
			where := map[bool]string{true: "changes", false: "frontiers"}[lanes]
			t.Run(where+" "+name, func(t *testing.T) {
				t.Parallel()
				r, c := fakeRig(t)
				old := r.writer()
				r.mustTx(old, 1, 5)
				r.awaitValid(old, at(1, 5))
				topic := r.frontierTopic()
				if lanes {
					topic = r.laneTopic("public.t1")
				}
				refused := c.RefuseProducer(topic, refuse)
				_ = r.tx(old, 2, 12, true) // the refusal may come while it is written
				if err := refused.Wait(r.ctx(), 1); err != nil {
					t.Fatal(err)
				}
				young := r.writer()
				from := young.Resumed().At
				if from != at(1, 5) && (lanes || from != at(2, 12)) { // a frontier that was written without a word counts
					t.Fatalf("resumed at %s", from)
				}
				second := 12
				if from == at(1, 5) {
					second = 7
					r.mustPart(young, 2, 0, 3)
				}
				refused.Remove()
				if err := r.awaitBroken(old); err == nil {
					t.Error("the older process goes on")
				}
				if from == at(1, 5) {
					r.mustPart(young, 2, 3, 7)
					if err := young.Cut(r.ctx(), boundary(2, 7), true); err != nil {
						t.Fatal(err)
					}
				}
				r.mustTx(young, 3, 4)
				r.awaitValid(young, at(3, 4))
				r.only(5, second, 4)
			})
		}
	}
}
