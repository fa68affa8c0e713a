// Package deduplicator is the stage between transformer and applier. Redelivered changes never reach it: claims and
// frontiers drop them (package frontier). What it is for is duplicate entities, the same customer twice in the legacy store:
// where the migration declares none, every record passes as it came, one out for each one in, behind the same frontier
// (promise P1). Memory: the batch in hand (P8).
package deduplicator

import (
	"context"

	"segue/pkg/change"
	"segue/pkg/frontier"
)

// Stage is the service's name in topics, metrics and logs.
const Stage = "deduplicator"

// Entities decides which rows are one entity. Same input, same decisions, whatever the batching.
type Entities interface {
	// Decide rewrites the operations of a batch's changes in place; it neither adds nor removes changes.
	Decide(ctx context.Context, batch *frontier.Batch[change.Mapped]) error
	// Revoke forgets what was decided behind the last boundary batch: a claim took those changes back.
	Revoke()
}

// Config says how the stage works.
type Config struct {
	// Entities is nil where the migration declares none.
	Entities Entities
}

// Deduplicator yields batches whose rows are each one entity's. It is for one goroutine, like every Source.
type Deduplicator struct {
	in       frontier.Source[change.Mapped]
	entities Entities
	failed   error // what stopped the stage
}

var _ frontier.Source[change.Mapped] = (*Deduplicator)(nil)

// New puts the stage behind its input.
func New(cfg Config, in frontier.Source[change.Mapped]) *Deduplicator {
	return &Deduplicator{in: in, entities: cfg.Entities}
}

// Ready says whether the input has something.
func (d *Deduplicator) Ready() bool { return d.failed != nil || d.in.Ready() }

// Next hands on the next batch, decided; a claim is passed on as it is. A batch that could not be decided is never left out:
// asking again gives the same error.
func (d *Deduplicator) Next(ctx context.Context) (frontier.Event[change.Mapped], error) {
	if d.failed != nil {
		return frontier.Event[change.Mapped]{}, d.failed
	}
	event, err := d.in.Next(ctx)
	if err != nil || d.entities == nil {
		return event, err
	}
	if event.Batch == nil {
		d.entities.Revoke()
		return event, nil
	}
	if err := d.entities.Decide(ctx, event.Batch); err != nil {
		d.failed = err
		return frontier.Event[change.Mapped]{}, err
	}
	return event, nil
}
