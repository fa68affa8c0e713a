package main

import (
	"context"
	"time"

	"segue/pkg/service"
	"segue/services/reconciler"
)

// runReconciler measures offsets all the time, and compares where it was told how often.
func (w *work) runReconciler(ctx context.Context, status *service.Status) error {
	r, err := w.meters.reconciler(func() (*reconciler.Reconciler, error) {
		p, err := w.prepared(ctx)
		if err != nil {
			return nil, err
		}
		return w.newReconciler(ctx, p, reconciler.Config{})
	})
	if err != nil {
		return err
	}
	status.Ready()
	return r.Run(ctx)
}

func (w *work) newReconciler(ctx context.Context, p *plan, c reconciler.Config) (*reconciler.Reconciler, error) {
	codec, err := w.frontiers(ctx, stageReader)
	if err != nil {
		return nil, err
	}
	c.Spec, c.Mapping = w.spec, p.mapping
	return reconciler.New(c, reconciler.Deps{
		Kafka: w.servers.kafka, Codec: codec, Registry: w.registry, Log: w.log.With("service", "reconciler"), Registerer: w.registerer,
	})
}

// reconcileTimeout is how long a comparison may take where nobody says otherwise.
const reconcileTimeout = 10 * time.Minute
