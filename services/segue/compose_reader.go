package main

import (
	"context"
	"fmt"
	"time"

	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgsource"
	"segue/pkg/request"
	"segue/pkg/service"
	"segue/pkg/table"
	"segue/pkg/wire"
	"segue/services/reader"
)

// upstreamNone stands in the reader's claims: it follows no other stage.
const upstreamNone = -1

// runReader is one life of the reader.
func (w *work) runReader(ctx context.Context, status *service.Status) error {
	guard := w.meters.guarding(func() *reader.Guard {
		return reader.NewGuard(reader.GuardConfig{
			URL: string(w.spec.Source.Postgres), App: w.spec.Name.ApplicationName("guard"), Slot: w.spec.Name.Slot(), Protect: w.spec.Protect,
		}, w.log.With("service", "reader"), w.registerer)
	})
	// Beside all of it: Kafka may be what the first step waits for.
	return guard.While(ctx, func(ctx context.Context) error { return w.readOn(ctx, status) })
}

func (w *work) readOn(ctx context.Context, status *service.Status) error {
	p, err := w.prepared(ctx)
	if err != nil {
		return err
	}
	displace, err := w.streamApp(ctx)
	if err != nil {
		return err
	}
	status.Wait("for the slot " + w.spec.Name.Slot())
	r := w.meters.reader(p, func() *reader.Reader { return w.newReader(p, displace, status) })
	return w.paused(p, r.Run(ctx))
}

func (w *work) newReader(p *plan, displace string, status *service.Status) *reader.Reader {
	name := w.spec.Name
	var tables []table.Name
	for _, t := range p.tables {
		tables = append(tables, t.Name)
	}
	conditions := map[table.Name][]table.Condition{}
	for _, r := range p.mapping.Rules() {
		conditions[r.Source().Name] = r.Conditions()
	}
	load := &w.spec.Load
	return reader.New(reader.Config{
		URL: string(w.spec.Source.Postgres), App: name.ApplicationName("reader"),
		Slot: name.Slot(), Publication: name.Publication(), Displace: displace, MarkPrefix: name.MarkPrefix(),
		Tables: tables, Partitions: int32(w.spec.Kafka.Partitions), NewHistory: w.choices.newHistory,
		Workers: load.Workers, ChunkBytes: load.Chunk, RowsPerSecond: load.RowsPerSecond, BytesPerSecond: load.BytesPerSecond,
		ActiveSessions: load.ActiveSessions, StandbyLag: load.StandbyLag, Conditions: conditions,
		Planned: p.tables, Shape: p.shape, Uses: p.uses, Ignore: p.lenient,
	}, reader.Deps{
		OpenWriter: func(ctx context.Context, lanes []frontier.Lane) (reader.Writer, error) {
			out, err := w.rawWriter(ctx, p, lanes)
			if err != nil {
				return nil, err
			}
			status.Ready()
			return out, nil
		},
		Peek:         w.peekRaw,
		Encoders:     w.encoders,
		OpenRequests: w.openRequests,
		Log:          w.log.With("service", "reader"), Metrics: w.registerer,
	})
}

// peekRaw says where the reader's frontier topic stands.
func (w *work) peekRaw(ctx context.Context) (frontier.State, error) {
	codec, err := w.frontiers(ctx, stageReader)
	if err != nil {
		return frontier.State{}, err
	}
	standing, err := kafka.Latest(ctx, w.servers.kafka, codec, w.spec.Name.FrontierTopic(stageReader))
	return standing.State, err
}

func (w *work) rawWriter(ctx context.Context, p *plan, lanes []frontier.Lane) (*kafka.Writer, error) {
	c, err := w.writerConfig(ctx, p, stageReader)
	if err != nil {
		return nil, err
	}
	c.Lanes, c.Upstream = lanes, upstreamNone
	return kafka.OpenWriter(ctx, c)
}

// encoders compiles the raw codecs for the shapes that the reader's stream starts with.
func (w *work) encoders(ctx context.Context, source pgsource.Identity, tables []*table.Table) ([]reader.Encoder, error) {
	out := make([]reader.Encoder, len(tables))
	for i, t := range tables {
		s := w.wireSource(source)
		s.Now = time.Now
		c, err := wire.NewChanges(ctx, w.registry, w.spec.Name.RawTopic(t.Name), t, s)
		if err != nil {
			return nil, err
		}
		out[i] = c
	}
	return out, nil
}

func (w *work) wireSource(source pgsource.Identity) wire.Source {
	return wire.Source{
		Migration: string(w.spec.Name), DB: source.Database, ServerVersion: fmt.Sprint(source.Version), Version: w.build.Version,
	}
}

// requests reads what is asked of the reader.
type requests struct {
	items *kafka.Items
	codec *wire.Requests
}

func (w *work) openRequests(ctx context.Context, from int64) (reader.Requests, error) {
	topic := w.spec.Name.RequestsTopic()
	codec, err := wire.NewRequests(ctx, w.registry, topic)
	if err != nil {
		return nil, err
	}
	items, err := kafka.OpenItems(w.servers.kafka, topic, from)
	if err != nil {
		return nil, err
	}
	return &requests{items: items, codec: codec}, nil
}

// Next implements reader.Requests.
func (r *requests) Next(ctx context.Context) (int64, request.Request, error) {
	item, err := r.items.Next(ctx)
	if err != nil {
		return 0, request.Request{}, err
	}
	asked, err := r.codec.DecodeRequest(item.Value)
	if err != nil {
		return 0, request.Request{}, fmt.Errorf("request at offset %d: %w", item.Offset, err)
	}
	return item.Offset, asked, nil
}

// Close implements reader.Requests.
func (r *requests) Close() { r.items.Close() }
