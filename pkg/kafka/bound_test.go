package kafka_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
)

// P8: inside a very large transaction the pace cuts where a cut is offered, so that consumers can work on.
func TestLargeTransactionIsCutInside(t *testing.T) {
	r, _ := fakeRig(t)
	r.pace = kafka.Pace{Changes: 500}
	w := r.writer()
	const size = 5000
	for seq := uint64(1); seq <= size; seq++ {
		pos := at(1, seq)
		if err := w.Append(r.ctx(), r.laneOf(pos), pos, nil, value(pos)); err != nil {
			t.Fatal(err)
		}
		if err := w.Cut(r.ctx(), frontier.Cut{At: pos, Boundary: seq == size, Confirm: 1}, seq == size); err != nil {
			t.Fatal(err)
		}
	}
	rd, m, inner := r.reader(nothing), &model{}, 0
	for m.cursor.At.Before(at(1, size)) {
		e, err := rd.Next(r.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if e.Batch != nil && !e.Batch.Frontier.Boundary {
			inner++
			if n := len(e.Batch.Changes); n > 1000 {
				t.Errorf("a batch inside the transaction holds %d changes", n)
			}
		}
		if err := m.take(e); err != nil {
			t.Fatal(err)
		}
	}
	if inner < size/500-1 {
		t.Errorf("%d cuts inside, want about %d", inner, size/500)
	}
	if err := isHistory(m.committed, size); err != nil {
		t.Error(err)
	}
}

// A record that is larger than the whole buffer waits until nothing is on its way, however little that was, and goes then.
func TestARecordLargerThanTheBufferGoesAlone(t *testing.T) {
	r, _ := fakeRig(t)
	r.pace = kafka.Pace{Buffer: 20_000}
	w := r.writer()
	const rounds = 50
	for seq := uint64(1); seq <= 2*rounds; seq++ {
		body := noise(10)
		if seq%2 == 0 {
			body = noise(30_000)
		}
		if err := w.Append(r.ctx(), 0, at(1, seq), nil, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Cut(r.ctx(), frontier.Cut{At: at(1, 2*rounds), Boundary: true}, true); err != nil {
		t.Fatal(err)
	}
	r.awaitValid(w, at(1, 2*rounds))
}

// P8: a backlog is consumed within the bound, however uneven the lanes are, and in large strides (Ready says so).
func TestBacklogIsReadWithinTheBound(t *testing.T) {
	r, _ := fakeRig(t)
	cfg := r.writerConfig()
	cfg.MaxRecord = 32 << 10 // the largest batch, which a fetch always brings whole
	w, err := kafka.OpenWriter(r.ctx(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer crash(w)
	const txs, each = 600, 8
	for lsn := uint64(1); lsn <= txs; lsn++ {
		for seq := uint64(1); seq <= each; seq++ {
			lane := 0
			if seq == each {
				lane = int(lsn/100) % len(r.lanes) // the others lie far apart
			}
			if err := w.Append(r.ctx(), lane, at(lsn, seq), nil, noise(2000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Cut(r.ctx(), frontier.Cut{At: at(lsn, each), Boundary: true, Confirm: lsn}, true); err != nil {
			t.Fatal(err)
		}
	}
	r.awaitValid(w, at(txs, each))
	r.ahead = 300 << 10
	rd, most, ready, n := r.reader(nothing), 0, 0, 0
	for last := (change.Position{}); last.Before(at(txs, each)); {
		if rd.Ready() {
			ready++
		}
		e, err := rd.Next(r.ctx())
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, rd.Held())
		if e.Batch != nil {
			n += len(e.Batch.Changes)
			last = e.Batch.Frontier.At
		}
	}
	if n != txs*each {
		t.Errorf("%d changes read, want %d", n, txs*each)
	}
	// The bound, plus what one fetch may bring on top: a quarter of it, and of each lane a whole batch.
	if limit := r.ahead + r.ahead/4 + len(r.lanes)*32<<10; most > limit {
		t.Errorf("%d bytes held at most, the limit is %d", most, limit)
	}
	if ready < 10 {
		t.Errorf("an event was at hand %d times only: a backlog could not be combined", ready)
	}
}

// noise packs badly, so that a fetch holds what it says.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// P8: the writer's buffer is bounded: Append waits for acknowledgements, and for no longer than its context.
func TestAppendWaitsWhileTheBufferIsFull(t *testing.T) {
	r, c := fakeRig(t)
	r.pace = kafka.Pace{Buffer: 10_000}
	w := r.writer()
	held := c.RefuseProduce(r.laneTopic("public.t0"), kerr.NotEnoughReplicas, -1)
	var err error
	n := 0
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for ; err == nil; n++ {
		err = w.Append(ctx, 0, at(1, uint64(n+1)), nil, make([]byte, 1000))
	}
	if n > 9 || w.Err() != nil {
		t.Errorf("%d records of 1000 bytes were taken into 10 000 (writer: %v)", n, w.Err())
	}
	held.Remove()
	for ; n < 40; n++ {
		if err := w.Append(r.ctx(), 0, at(1, uint64(n+1)), nil, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Cut(r.ctx(), frontier.Cut{At: at(1, 40), Boundary: true}, true); err != nil {
		t.Fatal(err)
	}
	r.awaitValid(w, at(1, 40))
}
