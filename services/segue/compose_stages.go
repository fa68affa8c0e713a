package main

import (
	"context"
	"fmt"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/mapping"
	"segue/pkg/service"
	"segue/pkg/table"
	"segue/pkg/wire"
	"segue/services/deduplicator"
	"segue/services/transformer"
)

// runTransformer is the transformer with topics on both sides: raw in, shaped out.
func (w *work) runTransformer(ctx context.Context, status *service.Status) error {
	p, err := w.prepared(ctx)
	if err != nil {
		return err
	}
	var in *wire.Decoded[change.Change]
	return w.relay(ctx, p, hopping{
		stage: stageTransformer, input: stageReader, topic: w.spec.Name.ShapedTopic,
		open: func(ctx context.Context, from frontier.Cursor) (frontier.Source[change.Mapped], func(), error) {
			status.Ready()
			changes, done, err := w.changes(ctx, p, from)
			if err != nil {
				return nil, nil, err
			}
			in = changes
			return transformer.New(transformer.Config{Mapping: p.mapping}, changes), done, nil
		},
		lane: func() (int, error) { return in.Lane() },
	})
}

// runDeduplicator is the deduplicator with topics on both sides: shaped in, unique out.
func (w *work) runDeduplicator(ctx context.Context, status *service.Status) error {
	p, err := w.prepared(ctx)
	if err != nil {
		return err
	}
	var in *wire.Decoded[change.Mapped]
	return w.relay(ctx, p, hopping{
		stage: stageDeduplicator, input: stageTransformer, topic: w.spec.Name.UniqueTopic,
		open: func(ctx context.Context, from frontier.Cursor) (frontier.Source[change.Mapped], func(), error) {
			status.Ready()
			changes, done, err := w.mapped(ctx, p, stageTransformer, from)
			if err != nil {
				return nil, nil, err
			}
			in = changes
			return deduplicator.New(deduplicator.Config{}, changes), done, nil
		},
		lane: func() (int, error) { return in.Lane() },
	})
}

// hopping is what differs between the stages that relay.
type hopping struct {
	stage, input string
	topic        func(table.Name) string
	open         func(context.Context, frontier.Cursor) (frontier.Source[change.Mapped], func(), error)
	lane         func() (int, error) // of the next change of the last batch
}

func (w *work) relay(ctx context.Context, p *plan, h hopping) error {
	if err := w.staged(ctx); err != nil {
		return err
	}
	codecs, err := w.mappedCodecs(ctx, p, h.topic)
	if err != nil {
		return err
	}
	out, err := w.writerConfig(ctx, p, h.stage)
	if err != nil {
		return err
	}
	return kafka.NewRelay(kafka.RelayConfig[change.Mapped]{
		Writer: out,
		Input:  w.spec.Name.FrontierTopic(h.input),
		Open:   h.open,
		Encode: func(c *change.Mapped) (kafka.Encoded, error) { return encode(codecs, c, h.lane) },
		Stub: func(c *change.Mapped, was kafka.Encoded, _ int) (kafka.Encoded, error) {
			return stub(codecs, p.mapping, h.stage, c, was)
		},
	}).Run(ctx)
}

// encode makes a lane record of a mapped change; it goes to the lane that it came by.
func encode(codecs map[table.Name]*wire.Mapped, c *change.Mapped, lane func() (int, error)) (e kafka.Encoded, err error) {
	codec := codecs[c.Source]
	if codec == nil {
		return e, fmt.Errorf("%s is not a table of this migration", c.Source)
	}
	e.Pos = c.Pos
	if e.Lane, err = lane(); err != nil {
		return e, err
	}
	if e.Key, err = codec.AppendKey(nil, c); err != nil {
		return e, err
	}
	e.Value, err = codec.AppendValue(nil, c)
	return e, err
}

// stub makes a lane record of a mapped change that is larger than its lane takes: the key and the fault. What cannot be set aside stays as
// it is, and stops the stage.
func stub(codecs map[table.Name]*wire.Mapped, rules *mapping.Mapping, stage string, c *change.Mapped, was kafka.Encoded) (kafka.Encoded, error) {
	if c.SourceKey == nil || c.Fault != nil || rules.For(c.Source).Roams() {
		return was, nil
	}
	c.Fault = &change.Fault{
		Stage: stage, Code: change.FaultTooLarge, Text: "the mapped row is larger than the " + stage + "'s topic takes", Size: int64(len(was.Key) + len(was.Value)),
	}
	c.Ops, c.Want = nil, nil
	var err error
	was.Value, err = codecs[c.Source].AppendValue(nil, c)
	return was, err
}

// writerConfig is how a stage writes to its own topics.
func (w *work) writerConfig(ctx context.Context, p *plan, stage string) (kafka.WriterConfig, error) {
	codec, err := w.frontiers(ctx, stage)
	return kafka.WriterConfig{
		Kafka: w.servers.kafka, Stage: stage, Owner: w.owner, Fingerprint: p.mapping.Fingerprint(),
		FrontierTopic: w.spec.Name.FrontierTopic(stage), LaneTopic: w.laneTopic(stage), Lanes: p.lanes, Codec: codec,
		Compression: kafka.Compression(w.spec.Kafka.Compression),
	}, err
}

func (w *work) openWriter(ctx context.Context, p *plan, stage string, upstream int64) (*kafka.Writer, error) {
	c, err := w.writerConfig(ctx, p, stage)
	if err != nil {
		return nil, err
	}
	c.Upstream = upstream
	return kafka.OpenWriter(ctx, c)
}
