package main

import (
	"context"
	"time"

	"segue/pkg/config"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/pkg/service"
)

// trimEvery is how often topics are trimmed.
const trimEvery = 30 * time.Second

// runTrimmer deletes from the topics what is applied and older than the migration's retention. It runs beside the applier.
func (w *work) runTrimmer(ctx context.Context, status *service.Status) error {
	if _, err := w.prepared(ctx); err != nil {
		return err
	}
	codec, err := w.frontiers(ctx, stageReader)
	if err != nil {
		return err
	}
	name := w.spec.Name
	hops := []kafka.Hop{{FrontierTopic: name.FrontierTopic(stageReader), LaneTopic: name.RawLane}}
	if w.stages == config.Staged {
		hops = []kafka.Hop{
			{FrontierTopic: name.FrontierTopic(stageDeduplicator), LaneTopic: name.UniqueLane},
			{FrontierTopic: name.FrontierTopic(stageTransformer), LaneTopic: name.ShapedLane},
			hops[0],
		}
	}
	t, err := kafka.OpenTrimmer(kafka.TrimConfig{
		Kafka: w.servers.kafka, Codec: codec, Hops: hops, Requests: name.RequestsTopic(),
		Window: w.spec.Kafka.Retention, Interval: trimEvery, Applied: w.applied,
	})
	if err != nil {
		return err
	}
	defer t.Close()
	status.Ready()
	return t.Run(ctx)
}

// applied reads how far the target is.
func (w *work) applied(ctx context.Context) (frontier.Cursor, error) {
	none := frontier.Cursor{Offset: -1}
	conn, err := postgres.Connect(ctx, string(w.spec.Target.Postgres), w.spec.Name.ApplicationName("trimmer"))
	if err != nil {
		return none, err
	}
	defer closeConn(ctx, conn)
	p, err := pgtarget.ReadProgress(ctx, conn, string(w.spec.Name))
	if err != nil || p == nil || string(p.Mode) != w.stages {
		return none, err
	}
	return p.Cursor(), nil
}
