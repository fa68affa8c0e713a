package main

import (
	"context"
	"runtime"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/table"
	"segue/pkg/wire"
)

// rawCodecs are the codecs of the raw topics, one for each source table.
func (w *work) rawCodecs(ctx context.Context, p *plan) (map[table.Name]wire.Changes, error) {
	out := make(map[table.Name]wire.Changes, len(p.tables))
	s := w.wireSource(p.source)
	s.CatalogAt, s.Unused = p.source.LSN, p.ignores
	for _, t := range p.tables {
		c, err := wire.NewChanges(ctx, w.registry, w.spec.Name.RawTopic(t.Name), t, s)
		if err != nil {
			return nil, err
		}
		out[t.Name] = c
	}
	return out, nil
}

// mappedCodecs are the codecs of the shaped or unique topics, one for each source table.
func (w *work) mappedCodecs(ctx context.Context, p *plan, topic func(table.Name) string) (map[table.Name]*wire.Mapped, error) {
	out := make(map[table.Name]*wire.Mapped, len(p.tables))
	for _, t := range p.tables {
		c, err := wire.NewMapped(ctx, w.registry, topic(t.Name), t.Name)
		if err != nil {
			return nil, err
		}
		out[t.Name] = c
	}
	return out, nil
}

// byLane sorts codecs by lane: messages name their lane.
func byLane[C any](p *plan, codecs map[table.Name]C) []C {
	byTopic := map[string]C{}
	for name, c := range codecs {
		byTopic[name.Topic()] = c
	}
	out := make([]C, len(p.lanes))
	for i, lane := range p.lanes {
		out[i] = byTopic[lane.Table]
	}
	return out
}

// hop opens a stage's output behind a cursor.
func (w *work) hop(ctx context.Context, p *plan, stage string, from frontier.Cursor) (*kafka.Reader, error) {
	codec, err := w.frontiers(ctx, stage)
	if err != nil {
		return nil, err
	}
	fingerprint := p.mapping.Fingerprint()
	if stage == stageReader {
		fingerprint = "" // raw changes are the same under any mapping
	}
	return kafka.OpenReader(ctx, kafka.ReaderConfig{
		Kafka: w.servers.kafka, FrontierTopic: w.spec.Name.FrontierTopic(stage), LaneTopic: w.laneTopic(stage), Lanes: p.lanes,
		Codec: codec, From: from, Fingerprint: fingerprint,
	})
}

// changes opens the reader's output as changes.
func (w *work) changes(ctx context.Context, p *plan, from frontier.Cursor) (*wire.Decoded[change.Change], func(), error) {
	raw, err := w.rawCodecs(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	in, err := w.hop(ctx, p, stageReader, from)
	if err != nil {
		return nil, nil, err
	}
	codecs := byLane(p, raw)
	return wire.NewDecoded(in, runtime.GOMAXPROCS(0), func(a *wire.Arena, m *frontier.Message, c *change.Change) error {
		return codecs[m.Lane].DecodeIn(a, m.Value, c)
	}), in.Close, nil
}

// mapped opens a stage's output as mapped changes.
func (w *work) mapped(ctx context.Context, p *plan, stage string, from frontier.Cursor) (*wire.Decoded[change.Mapped], func(), error) {
	topic := w.spec.Name.ShapedTopic
	if stage == stageDeduplicator {
		topic = w.spec.Name.UniqueTopic
	}
	by, err := w.mappedCodecs(ctx, p, topic)
	if err != nil {
		return nil, nil, err
	}
	in, err := w.hop(ctx, p, stage, from)
	if err != nil {
		return nil, nil, err
	}
	codecs := byLane(p, by)
	return wire.NewDecoded(in, runtime.GOMAXPROCS(0), func(a *wire.Arena, m *frontier.Message, c *change.Mapped) error {
		return codecs[m.Lane].DecodeIn(a, m.Value, c)
	}), in.Close, nil
}
