package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// rig is one hop on a broker: its topics, and how tests write and read it.
type rig struct {
	t       testing.TB
	cfg     kafka.Config
	stage   string
	lanes   []frontier.Lane
	pace    kafka.Pace
	ahead   int
	patient time.Duration
}

const (
	tables     = 3
	partitions = 2
)

// newRig makes the topics of a stage on the brokers.
func newRig(t testing.TB, brokers []string, stage string) *rig {
	t.Helper()
	r := &rig{t: t, cfg: kafka.Config{Brokers: brokers}, stage: stage, patient: 2 * time.Minute}
	for n := range tables * partitions {
		r.lanes = append(r.lanes, frontier.Lane{Table: fmt.Sprintf("public.t%d", n/partitions), Partition: int32(n % partitions)})
	}
	admin, err := kafka.OpenAdmin(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	topics := []kafka.Topic{{Name: r.frontierTopic(), Partitions: 1, Replication: 1}}
	for n := range tables {
		topics = append(topics, kafka.Topic{Name: r.laneTopic(fmt.Sprintf("public.t%d", n)), Partitions: partitions, Replication: 1})
	}
	if err := admin.EnsureTopics(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	return r
}

func fakeRig(t testing.TB) (*rig, *kafkatest.Cluster) {
	t.Helper()
	c := kafkatest.Fake(t)
	return newRig(t, c.Brokers(), "raw"), c
}

func (r *rig) frontierTopic() string         { return "m." + r.stage + ".frontier" }
func (r *rig) laneTopic(table string) string { return "m." + r.stage + "." + table }
func (r *rig) writerConfig() kafka.WriterConfig {
	return kafka.WriterConfig{
		Kafka: r.cfg, Stage: r.stage, Owner: "test", Fingerprint: "f1", Upstream: -1,
		FrontierTopic: r.frontierTopic(), LaneTopic: r.laneTopic, Lanes: r.lanes, Codec: kafkatest.Codec{}, Pace: r.pace,
	}
}

func (r *rig) readerConfig(from frontier.Cursor) kafka.ReaderConfig {
	return kafka.ReaderConfig{
		Kafka: r.cfg, FrontierTopic: r.frontierTopic(), LaneTopic: r.laneTopic, Lanes: r.lanes,
		Codec: kafkatest.Codec{}, From: from, MaxAheadBytes: r.ahead,
	}
}

// writer opens a writer that the test's end crashes.
func (r *rig) writer() *kafka.Writer {
	r.t.Helper()
	w, err := kafka.OpenWriter(r.ctx(), r.writerConfig())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { crash(w) })
	return w
}

// crash ends a writer without letting anything land that has not landed yet.
func crash(w *kafka.Writer) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.Close(ctx)
}

func (r *rig) reader(from frontier.Cursor) *kafka.Reader {
	r.t.Helper()
	rd, err := kafka.OpenReader(r.ctx(), r.readerConfig(from))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(rd.Close)
	return rd
}

// ctx ends long before the test binary's own limit, so that what hangs is named.
func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), r.patient)
	r.t.Cleanup(cancel)
	return ctx
}

var nothing = frontier.Cursor{Offset: -1, Incarnation: -1}

func at(lsn, seq uint64) change.Position { return change.Position{Epoch: 1, LSN: lsn, Seq: seq} }

// tx appends a transaction of n changes, each to its own lane in turn, and offers a boundary behind it.
func (r *rig) tx(w *kafka.Writer, lsn uint64, n int, must bool) error {
	for i := range n {
		pos := at(lsn, uint64(i+1))
		if err := w.Append(r.ctx(), r.laneOf(pos), pos, key(pos), value(pos)); err != nil {
			return err
		}
	}
	return w.Cut(r.ctx(), frontier.Cut{At: at(lsn, uint64(n)), Boundary: true, Confirm: lsn}, must)
}

func boundary(lsn, seq uint64) frontier.Cut {
	return frontier.Cut{At: at(lsn, seq), Boundary: true, Confirm: lsn}
}

func (r *rig) mustTx(w *kafka.Writer, lsn uint64, n int) {
	r.t.Helper()
	if err := r.tx(w, lsn, n, true); err != nil {
		r.t.Fatal(err)
	}
}

// mustPart appends the changes (from, to] of a transaction and cuts inside it.
func (r *rig) mustPart(w *kafka.Writer, lsn, from, to uint64) {
	r.t.Helper()
	for seq := from + 1; seq <= to; seq++ {
		pos := at(lsn, seq)
		if err := w.Append(r.ctx(), r.laneOf(pos), pos, key(pos), value(pos)); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := w.Cut(r.ctx(), frontier.Cut{At: at(lsn, to)}, true); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) laneOf(p change.Position) int { return int((p.LSN + p.Seq) % uint64(len(r.lanes))) }

func key(p change.Position) []byte   { return fmt.Appendf(nil, "k%d", p.Seq) }
func value(p change.Position) []byte { return []byte("v" + p.String()) }

// awaitValid waits until a boundary at the position or later was found valid.
func (r *rig) awaitValid(w *kafka.Writer, pos change.Position) kafka.Found {
	r.t.Helper()
	ctx := r.ctx()
	for {
		select {
		case f := <-w.Valid():
			if !f.Frontier.At.Before(pos) {
				return f
			}
		case <-w.Broken():
			r.t.Fatalf("the writer broke before %s was found valid: %v", pos, w.Err())
		case <-ctx.Done():
			r.t.Fatalf("%s was never found valid", pos)
		}
	}
}

func (r *rig) awaitBroken(w *kafka.Writer) error {
	r.t.Helper()
	select {
	case <-w.Broken():
	case <-r.ctx().Done():
		r.t.Fatal("the writer did not break")
	}
	return w.Err()
}

// model is a consumer that commits at boundaries and takes back at claims, as the applier does.
type model struct {
	committed, open []change.Position
	claims          int
	cursor          frontier.Cursor
}

func (m *model) take(e frontier.Event[frontier.Message]) error {
	if e.Claim != nil {
		m.claims++
		m.open = nil
		return nil
	}
	for _, c := range e.Batch.Changes {
		if string(c.Value) != "v"+c.Pos.String() {
			return fmt.Errorf("the change at %s carries %q", c.Pos, c.Value)
		}
		m.open = append(m.open, c.Pos)
	}
	if f := e.Batch.Frontier; f.Boundary {
		m.committed = append(m.committed, m.open...)
		m.open = nil
		m.cursor = frontier.Cursor{Offset: e.Batch.Offset, Incarnation: f.Incarnation, At: f.At}
	}
	return nil
}

// consume reads until the model has committed the position.
func (r *rig) consume(rd *kafka.Reader, m *model, upto change.Position) {
	r.t.Helper()
	ctx := r.ctx()
	for m.cursor.At.Before(upto) {
		e, err := rd.Next(ctx)
		if err == nil {
			err = m.take(e)
		}
		if err != nil {
			r.t.Fatalf("consume up to %s, committed %s: %v", upto, m.cursor.At, err)
		}
	}
}

// isHistory checks that exactly the transactions with the given sizes were committed, in order, by LSN from 1.
func isHistory(got []change.Position, sizes ...int) error {
	i := 0
	for n, size := range sizes {
		for seq := range size {
			want := at(uint64(n+1), uint64(seq+1))
			if i >= len(got) {
				return fmt.Errorf("%d changes committed, %s and more are missing", len(got), want)
			}
			if got[i] != want {
				return fmt.Errorf("change %d is %s, want %s", i, got[i], want)
			}
			i++
		}
	}
	if i != len(got) {
		return errors.New("more was committed than was written: " + got[i].String())
	}
	return nil
}
