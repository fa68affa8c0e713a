package main

import (
	"context"

	"github.com/jackc/pgx/v5"

	"segue/pkg/kafka"
	"segue/pkg/postgres"
	"segue/pkg/service"
	"segue/services/dead"
)

// runLetters carries the log of parked rows to the topic for people's own tools. It runs beside the applier, which never waits for it.
func (w *work) runLetters(ctx context.Context, status *service.Status) error {
	if _, err := w.prepared(ctx); err != nil {
		return err
	}
	status.Ready()
	delivery := &dead.Delivery{
		Migration: string(w.spec.Name), RawTopic: w.spec.Name.RawTopic, Log: w.log.With("service", "letters"), Metrics: w.meters.letters,
		Connect: func(ctx context.Context) (*pgx.Conn, error) {
			return postgres.Connect(ctx, string(w.spec.Target.Postgres), w.spec.Name.ApplicationName("letters"))
		},
		Open: func() (dead.Letters, error) { return kafka.OpenLetters(w.servers.kafka, w.spec.Name.DeadTopic()) },
	}
	return delivery.Run(ctx)
}
