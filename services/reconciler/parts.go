package reconciler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/pgtarget"
	"segue/pkg/service"
	"segue/pkg/table"
	"segue/pkg/wire"
)

// sourceMarks puts marks into the source's log.
type sourceMarks struct {
	conn   *pgx.Conn
	prefix string
	life   string
}

func (m *sourceMarks) Emit(ctx context.Context, id string) error {
	mark := chunk.Mark{Kind: chunk.MarkHigh, ID: id, Writer: "reconciler:" + m.life}
	_, err := pgsource.Emit(ctx, m.conn, m.prefix, []byte(mark.String()))
	return err
}

// targetSnapshots finds what the applier exported.
type targetSnapshots struct {
	conn      *pgx.Conn
	migration string
}

// snapshotPoll is the pause between two looks: short, for the source's keys are touched meanwhile.
const snapshotPoll = 20 * time.Millisecond

func (s *targetSnapshots) Await(ctx context.Context, mark string) (Snapshot, error) {
	for {
		found, err := pgtarget.ReadSnapshot(ctx, s.conn, s.migration, mark)
		if err == nil && found != nil {
			return Snapshot{ID: found.ID, At: found.At}, nil
		}
		if err == nil {
			err = service.Sleep(ctx, snapshotPoll)
		}
		switch {
		case ctx.Err() != nil:
			return Snapshot{}, fault.Transient(errors.New("the target's snapshot at the watermark has not come: is the applier running?"))
		case err != nil:
			return Snapshot{}, err
		}
	}
}

func (s *targetSnapshots) Release(ctx context.Context, mark string) error {
	return pgtarget.ReleaseSnapshot(ctx, s.conn, s.migration, mark)
}

// targetBooks reads segue's own tables on the target.
type targetBooks struct{ migration string }

// maxPendingRead is how many pending rows are told apart by table; beyond it all tables count as having some.
const maxPendingRead = 10_000

func (b *targetBooks) Standing(ctx context.Context, tx pgx.Tx) (Standing, error) {
	p, err := pgtarget.ReadProgress(ctx, tx, b.migration)
	if err != nil {
		return Standing{}, err
	}
	if p == nil {
		return Standing{}, fault.Transient(errors.New("nothing has been applied to the target yet"))
	}
	s := Standing{At: p.At, Loaded: p.Loaded, Pending: map[table.Name]int64{}}
	if p.ParkedRows > 0 {
		if s.Parked, err = pgtarget.ParkedCounts(ctx, tx, b.migration); err != nil {
			return s, err
		}
	}
	if p.Pending == 0 {
		return s, nil
	}
	if p.Pending > maxPendingRead {
		s.Loaded = false
		return s, nil
	}
	rows, err := pgtarget.ReadPending(ctx, tx, b.migration, maxPendingRead)
	for _, row := range rows {
		s.Pending[row.Source]++
	}
	return s, err
}

// rawStream decodes what the reader wrote. It is a display's consumer: it takes no part in any group and acknowledges
// nothing.
type rawStream struct {
	reader *kafka.Reader
	codecs []wire.Changes // by lane
}

// Next implements frontier.Source.
func (s *rawStream) Next(ctx context.Context) (frontier.Event[change.Change], error) {
	event, err := s.reader.Next(ctx)
	if err != nil || event.Claim != nil {
		return frontier.Event[change.Change]{Claim: event.Claim}, err
	}
	b := event.Batch
	out := &frontier.Batch[change.Change]{Offset: b.Offset, Frontier: b.Frontier, Changes: make([]change.Change, len(b.Changes))}
	var arena wire.Arena
	for i := range b.Changes {
		m := &b.Changes[i]
		if err := s.codecs[m.Lane].DecodeIn(&arena, m.Value, &out.Changes[i]); err != nil {
			return frontier.Event[change.Change]{}, fmt.Errorf("at %s: %w", m.Pos, err)
		}
		out.Changes[i].Pos = m.Pos
	}
	return frontier.Event[change.Change]{Batch: out}, nil
}

// State is where the reader's output stood at the last frontier that Next has handed out.
func (s *rawStream) State() frontier.State { return s.reader.State() }

// Ready implements frontier.Source.
func (s *rawStream) Ready() bool { return s.reader.Ready() }

// openStream begins to follow the reader's output at its last frontier.
func openStream(ctx context.Context, spec *migration.Spec, m *mapping.Mapping, d *Deps) (*rawStream, error) {
	topic := spec.Name.FrontierTopic("reader")
	now, err := kafka.Latest(ctx, d.Kafka, d.Codec, topic)
	if err != nil {
		return nil, err
	}
	if now.State.Offset < 0 {
		return nil, fault.Transient(errors.New("the reader has not written a frontier yet: is it running?"))
	}
	s := &rawStream{}
	var lanes []frontier.Lane
	for _, source := range m.Sources() {
		codec, err := wire.NewChanges(ctx, d.Registry, spec.Name.RawTopic(source.Name), source, wire.Source{Migration: string(spec.Name)})
		if err != nil {
			return nil, err
		}
		for p := range spec.Kafka.Partitions {
			lanes = append(lanes, frontier.Lane{Table: source.Name.Topic(), Partition: int32(p)})
			s.codecs = append(s.codecs, codec)
		}
	}
	s.reader, err = kafka.OpenReader(ctx, kafka.ReaderConfig{
		Kafka: d.Kafka, FrontierTopic: topic, LaneTopic: spec.Name.RawLane, Lanes: lanes, Codec: d.Codec,
		From: now.State.Cursor(), MaxAheadBytes: maxAhead,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// maxAhead bounds the records that wait for their frontier.
const maxAhead = 32 << 20
