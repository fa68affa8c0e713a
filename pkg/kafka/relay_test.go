package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// relay is a stage that passes on what it reads, from one hop to the next.
func relay(in, out *rig, cut func(*frontier.Frontier)) *kafka.Relay[frontier.Message] {
	return kafka.NewRelay(kafka.RelayConfig[frontier.Message]{
		Writer: out.writerConfig(),
		Input:  in.frontierTopic(),
		Open: func(ctx context.Context, from frontier.Cursor) (frontier.Source[frontier.Message], func(), error) {
			rd, err := kafka.OpenReader(ctx, in.readerConfig(from))
			if err != nil {
				return nil, nil, err
			}
			return rd, rd.Close, nil
		},
		Encode: func(m *frontier.Message) (kafka.Encoded, error) {
			return kafka.Encoded{Lane: m.Lane, Pos: m.Pos, Key: m.Key, Value: m.Value}, nil
		},
		Cut: cut,
	})
}

// running runs a relay and stops it; stop returns what Run returned.
func running(t *testing.T, rl *kafka.Relay[frontier.Message]) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rl.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

func TestRelayPassesOnEveryBatch(t *testing.T) {
	raw, c := fakeRig(t)
	shaped := newRig(t, c.Brokers(), "shaped")
	w := raw.writer()
	stop := running(t, relay(raw, shaped, nil))
	for n := range 5 {
		raw.mustTx(w, uint64(n+1), 7)
	}
	last := raw.awaitValid(w, at(5, 7))
	m := &model{}
	shaped.consume(shaped.reader(nothing), m, at(5, 7))
	if err := isHistory(m.committed, 7, 7, 7, 7, 7); err != nil {
		t.Error(err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("a stopped relay returned %v", err)
	}
	s, err := kafka.Latest(t.Context(), shaped.cfg, kafkatest.Codec{}, shaped.frontierTopic())
	if err != nil {
		t.Fatal(err)
	}
	if int64(s.State.Confirm) != last.Offset || s.State.At != at(5, 7) || s.Holder == nil || s.Last.Written == 0 {
		t.Errorf("the stage stands at %+v, its input's last frontier is %d", s, last.Offset)
	}
	if s.Holder.Upstream != 0 {
		t.Errorf("the stage's claim follows %d, want the input's claim 0", s.Holder.Upstream)
	}
}

// A claim of the input in the middle of a transaction that was passed on in part: the stage claims anew, once.
func TestRelayReclaimsWhenItsInputTakesBack(t *testing.T) {
	raw, c := fakeRig(t)
	shaped := newRig(t, c.Brokers(), "shaped")
	passed := make(chan change.Position, 100)
	stop := running(t, relay(raw, shaped, func(f *frontier.Frontier) { passed <- f.At }))
	w := raw.writer()
	raw.mustTx(w, 1, 5)
	raw.mustPart(w, 2, 0, 4)
	for got := (change.Position{}); got != at(2, 4); {
		select {
		case got = <-passed:
		case <-raw.ctx().Done():
			t.Fatal("the part of the transaction was not passed on")
		}
	}
	crash(w)
	w = raw.writer()
	raw.mustTx(w, 2, 9)
	raw.mustTx(w, 3, 1)
	m := &model{}
	shaped.consume(shaped.reader(nothing), m, at(3, 1))
	if err := isHistory(m.committed, 5, 9, 1); err != nil {
		t.Error(err)
	}
	if m.claims != 2 {
		t.Errorf("the stage claimed %d times, want once at the start and once for its input's claim", m.claims)
	}
	_ = stop()
}

// Two hops with writers, a stage and a consumer that all crash at random.
func TestRandomHistoriesThroughAStage(t *testing.T) {
	for range rounds(t, 6) {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			throughAStage(t, seed)
		})
	}
}

func throughAStage(t *testing.T, seed uint64) {
	c := newChaos(t, seed)
	shaped := newRig(t, c.broker.Brokers(), "shaped")
	shaped.ahead, shaped.pace = c.ahead, c.pace
	rl := relay(c.rig, shaped, nil)
	stop := running(t, rl)
	for range 150 {
		c.step()
		if c.rnd.IntN(20) == 0 {
			_ = stop() // whatever it met: it starts again from what the topics say
			stop = running(t, rl)
		}
	}
	c.finish()
	_ = stop() // it may have met an injected error
	stop = running(t, rl)
	m := &model{}
	rd := shaped.reader(nothing)
	ctx, cancel := context.WithTimeout(t.Context(), shaped.patient)
	defer cancel()
	for m.cursor.At.Before(c.end().At) {
		e, err := rd.Next(ctx)
		if err == nil {
			err = m.take(e)
		}
		if err != nil {
			t.Fatalf("behind the stage, committed %s: %v; the stage: %v", m.cursor.At, err, stop())
		}
	}
	if err := isHistory(m.committed, c.sizes...); err != nil {
		t.Error(err)
	}
	_ = stop()
	t.Logf("%d claims of the stage", m.claims)
}
