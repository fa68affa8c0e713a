package main

import (
	"context"
	"fmt"

	"segue/pkg/change"
	"segue/pkg/config"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/request"
	"segue/pkg/service"
	"segue/pkg/table"
	"segue/pkg/wire"
	"segue/services/applier"
	"segue/services/deduplicator"
	"segue/services/transformer"
)

// runApplier is the end of the pipeline. Fused, it brings transformer and deduplicator along in memory; staged, it reads what
// the deduplicator wrote. Nothing else differs.
func (w *work) runApplier(ctx context.Context, status *service.Status) error {
	p, err := w.prepared(ctx)
	if err != nil {
		return err
	}
	asker, err := w.openAsker(ctx)
	if err != nil {
		return err
	}
	defer asker.to.Close()
	status.Wait("for the target")
	if err := w.settleMode(ctx, p); err != nil {
		return err
	}
	a, err := applier.Open(ctx, applier.Config{Target: pgtarget.Config{
		URL: string(w.spec.Target.Postgres), App: w.spec.Name.ApplicationName("applier"), Migration: string(w.spec.Name),
		Owner: w.owner, Mode: pgtarget.Mode(w.stages), Fingerprint: p.mapping.Fingerprint(), Targets: p.mapping.Targets(),
		AcceptMapping: w.choices.acceptMapping, Asker: asker,
		IndexesAfterLoad: w.spec.Target.Indexes == migration.IndexesAfterLoad, IndexWorkers: w.spec.Target.IndexWorkers,
		Park: pgtarget.Park{Limit: w.spec.Park.Limit, PerTable: w.spec.Park.PerTable},
	}, Sources: feeds(p), Pause: w.spec.Target.Pause}, applier.Deps{Log: w.log.With("service", "applier"), Metrics: w.meters.applier, Waiting: shown(status)})
	if err != nil {
		return err
	}
	in, done, err := w.applierSource(ctx, p, a.Cursor())
	if err != nil {
		a.Close()
		return err
	}
	defer done()
	status.Ready()
	return a.Run(ctx, in)
}

// feeds says which target table each source table goes to.
func feeds(p *plan) map[table.Name][]table.Name {
	out := map[table.Name][]table.Name{}
	for _, r := range p.mapping.Rules() {
		out[r.Source().Name] = append(out[r.Source().Name], r.Target().Table.Name)
	}
	return out
}

// shown puts what a service waits for into its state.
func shown(status *service.Status) func(string) {
	return func(why string) {
		if why == "" {
			status.Ready()
			return
		}
		status.Wait(why)
	}
}

// applierSource opens what the applier reads behind a cursor.
func (w *work) applierSource(ctx context.Context, p *plan, from frontier.Cursor) (frontier.Source[change.Mapped], func(), error) {
	if w.stages == config.Staged {
		in, done, err := w.mapped(ctx, p, stageDeduplicator, from)
		return in, done, err
	}
	in, done, err := w.changes(ctx, p, from)
	if err != nil {
		return nil, nil, err
	}
	shaped := transformer.New(transformer.Config{Mapping: p.mapping}, in)
	return deduplicator.New(deduplicator.Config{}, shaped), done, nil
}

// asker makes requests durable: the applier commits only behind them.
type asker struct {
	codec *wire.Requests
	to    *kafka.Requests
}

func (w *work) openAsker(ctx context.Context) (*asker, error) {
	topic := w.spec.Name.RequestsTopic()
	codec, err := wire.NewRequests(ctx, w.registry, topic)
	if err != nil {
		return nil, err
	}
	to, err := kafka.OpenRequests(w.servers.kafka, topic)
	if err != nil {
		return nil, err
	}
	return &asker{codec: codec, to: to}, nil
}

// Ask implements pgtarget.Asker.
func (a *asker) Ask(ctx context.Context, requests []request.Request) error {
	values := make([][]byte, len(requests))
	for i, r := range requests {
		b, err := a.codec.EncodeRequest(r)
		if err != nil {
			return fmt.Errorf("ask for rows of %s: %w", r.Table, err)
		}
		values[i] = b
	}
	return a.to.Produce(ctx, values...)
}
