package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// chaos is a numbered history (transaction n has sizes[n-1] changes) that several writers put on one hop, crashing,
// overtaking each other and being refused by the broker, while a consumer that crashes too commits what counts.
type chaos struct {
	*rig
	broker  *kafkatest.Cluster
	rnd     *rand.Rand
	sizes   []int
	writers []*source
	reader  *kafka.Reader
	model   model
}

// source is a writer with its place in the history.
type source struct {
	*kafka.Writer
	lsn, seq uint64 // the next change's transaction, and how many of its changes are written
}

func TestRandomHistories(t *testing.T) {
	for range rounds(t, 12) {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			newChaos(t, seed).run()
		})
	}
}

// rounds is how many histories to try: few by default, many with SEGUE_TEST_ROUNDS.
func rounds(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("SEGUE_TEST_ROUNDS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("SEGUE_TEST_ROUNDS: %v", err)
	}
	return n
}

func newChaos(t *testing.T, seed uint64) *chaos {
	broker := kafkatest.Fake(t)
	c := &chaos{rig: newRig(t, broker.Brokers(), "raw"), broker: broker, rnd: rand.New(rand.NewPCG(seed, 1))}
	c.pace = kafka.Pace{Changes: 1 + c.rnd.IntN(30), Buffer: 1 << (10 + c.rnd.IntN(10)), Full: 1}
	c.ahead = 1 << (9 + c.rnd.IntN(12))
	for range 40 {
		c.sizes = append(c.sizes, c.rnd.IntN(25))
	}
	c.model.cursor = nothing
	return c
}

func (c *chaos) end() frontier.Cursor {
	n := len(c.sizes)
	return frontier.Cursor{At: at(uint64(n), uint64(c.sizes[n-1]))}
}

func (c *chaos) run() {
	c.t.Helper()
	for range 150 {
		c.step()
	}
	c.finish()
	if c.reader == nil {
		c.reader = c.rig.reader(c.model.cursor)
	}
	c.consume(c.reader, &c.model, c.end().At)
	if err := isHistory(c.model.committed, c.sizes...); err != nil {
		c.t.Error(err)
	}
	c.t.Logf("%d claims seen", c.model.claims)
}

// finish brings the history to its end, whatever happened before.
func (c *chaos) finish() {
	c.t.Helper()
	for !c.finished(c.open()) {
		c.t.Log("write the end again") // a fault that was injected before came now
	}
}

func (c *chaos) finished(w *source) bool {
	for w.lsn <= uint64(len(c.sizes)) {
		if c.advance(w, 1000, true) != nil {
			return false
		}
	}
	for last := w.Resumed().At; last.Before(c.end().At); {
		select {
		case f := <-w.Valid():
			last = f.Frontier.At
		case <-w.Broken():
			return false
		case <-c.ctx().Done():
			return false
		}
	}
	return true
}

func (c *chaos) step() {
	c.t.Helper()
	switch n := c.rnd.IntN(100); {
	case n < 4 || len(c.writers) == 0:
		c.open()
	case n < 70:
		c.write()
	case n < 73:
		crash(c.drop().Writer)
	case n < 75:
		_ = c.drop().Close(c.ctx())
	case n < 90:
		c.read()
	case n < 93 && c.reader != nil:
		c.reader.Close()
		c.reader, c.model.open = nil, nil
	case n < 97:
		c.broker.RefuseProduce("", []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut}[c.rnd.IntN(3)], 1)
	case n < 98:
		c.broker.RefuseProduce("", kerr.InvalidRecord, 1)
	case n < 99:
		c.broker.DropProduce(1)
	}
}

// open starts one more writer; the others become zombies.
func (c *chaos) open() *source {
	c.t.Helper()
	for {
		w, err := kafka.OpenWriter(c.ctx(), c.writerConfig())
		if err != nil {
			c.t.Logf("open again after: %v", err) // the claim was refused
			continue
		}
		c.t.Cleanup(func() { crash(w) })
		s := &source{Writer: w}
		s.resume()
		c.writers = append(c.writers, s)
		return s
	}
}

func (s *source) resume() { s.lsn, s.seq = s.Resumed().At.LSN+1, 0 }

func (c *chaos) drop() *source {
	i := c.rnd.IntN(len(c.writers))
	s := c.writers[i]
	c.writers = append(c.writers[:i], c.writers[i+1:]...)
	return s
}

// write lets some writer, the newest most often, go on with its history.
func (c *chaos) write() {
	s := c.writers[len(c.writers)-1]
	if c.rnd.IntN(3) == 0 {
		s = c.writers[c.rnd.IntN(len(c.writers))]
	}
	if c.rnd.IntN(20) == 0 {
		if s.Reclaim(c.ctx(), 0) == nil {
			s.resume()
		}
		return
	}
	if s.lsn <= uint64(len(c.sizes)) {
		_ = c.advance(s, 1+c.rnd.IntN(15), c.rnd.IntN(2) == 0) // a broken writer stays broken
	}
}

// advance writes up to n changes of the present transaction, and a cut behind them.
func (c *chaos) advance(s *source, n int, must bool) error {
	size := uint64(c.sizes[s.lsn-1])
	for ; n > 0 && s.seq < size; n-- {
		s.seq++
		pos := at(s.lsn, s.seq)
		if err := s.Append(c.ctx(), c.laneOf(pos), pos, key(pos), value(pos)); err != nil {
			return err
		}
	}
	cut := frontier.Cut{At: at(s.lsn, s.seq), Boundary: s.seq == size, Confirm: s.lsn}
	if cut.Boundary {
		s.lsn, s.seq = s.lsn+1, 0
	}
	return s.Cut(c.ctx(), cut, must)
}

// read takes what is at hand.
func (c *chaos) read() {
	c.t.Helper()
	if c.reader == nil {
		c.reader = c.rig.reader(c.model.cursor)
	}
	for c.reader.Ready() && c.rnd.IntN(10) > 0 {
		e, err := c.reader.Next(context.Background())
		if err == nil {
			err = c.model.take(e)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}
