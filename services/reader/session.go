package reader

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"segue/pkg/chunk"
	"segue/pkg/request"
)

// closeTimeout is how long the last cuts may take to reach Kafka when the reader stops.
const closeTimeout = 10 * time.Second

// session is one life: the slot is held, the writer claimed, the place to resume at known.
type session struct {
	cfg      Config
	log      *slog.Logger
	loop     *loop
	desk     *desk
	workers  *workers
	poller   *poller
	strain   *strain
	requests Requests // may be nil
	release  []func() // in reverse order of opening
}

func (s *session) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.loop.run(ctx) })
	g.Go(func() error { return s.confirm(ctx) })
	g.Go(func() error { return patiently(ctx, s.log, "snapshot", s.poller.snapshots) })
	g.Go(func() error { return patiently(ctx, s.log, "heartbeat", s.poller.beats) })
	g.Go(func() error { return patiently(ctx, s.log, "slot and partitions", s.poller.watch) })
	if s.strain.watches() {
		g.Go(func() error { return patiently(ctx, s.log, "load of the source", s.strain.watch) })
	}
	for range s.cfg.Workers {
		g.Go(func() error { return s.workers.run(ctx) })
	}
	if s.requests != nil {
		g.Go(func() error { return s.listen(ctx) })
	}
	return g.Wait()
}

// confirm tells the slot what it may forget: what a frontier that was found valid in Kafka says (promise P3).
func (s *session) confirm(ctx context.Context) error {
	w := s.loop.writer
	for {
		select {
		case f := <-w.Valid():
			s.loop.stream.Confirm(f.Frontier.Confirm)
			s.loop.metrics.confirmed.Set(float64(f.Frontier.Confirm))
		case <-w.Broken():
			return w.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen takes requests in, in the order of their topic.
func (s *session) listen(ctx context.Context) error {
	for {
		offset, r, err := s.requests.Next(ctx)
		if err != nil {
			return err
		}
		if err := s.take(ctx, offset, &r); err != nil {
			return err
		}
	}
}

// take takes one request in. One that is not the reader's, or cannot be answered, is passed over: it would stop every life at the same place.
func (s *session) take(ctx context.Context, offset int64, r *request.Request) error {
	t := s.desk.tables[r.Table]
	switch {
	case t != nil && r.Kind == request.Resync:
		return s.resync(ctx, offset, t, r)
	case t != nil && r.Kind == request.Keys:
		keys, ok := wide(t, r)
		if !ok {
			s.log.Error("a request whose keys are not the table's is left unanswered", "request", r.ID, "table", r.Table.String())
			keys = nil
		}
		return s.desk.request(ctx, offset, t, keys)
	}
	s.log.Info("a request that is not the reader's", "request", r.ID, "kind", string(r.Kind), "table", r.Table.String())
	return s.desk.request(ctx, offset, nil, nil)
}

// close brings what was cut into Kafka, tells the slot of it, and lets go.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	w := s.loop.writer
	if err := w.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Warn("closing the writer", "error", err.Error())
	}
	select {
	case f := <-w.Valid():
		s.loop.stream.Confirm(f.Frontier.Confirm)
	default:
	}
	for i := len(s.release) - 1; i >= 0; i-- {
		s.release[i]()
	}
}

func heartbeatMark(life string) chunk.Mark {
	return chunk.Mark{Kind: chunk.MarkBeat, ID: life + "-beat", Writer: chunk.ReaderWriter + ":" + life}
}
