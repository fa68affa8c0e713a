// Package transformer is the stage that makes target rows of source rows: a batch of changes in, a batch of mapped changes out,
// one for each, in the same order, behind the same frontier. What a row becomes is decided by package mapping; here the
// work is spread over cores. It keeps its part of promise P1: a change whose row the mapping has no result for is passed on
// with that fault, in its place; what else cannot be mapped stops the stage, and asking again gives the same error, never the next batch. Memory: the batch in hand and its mapped rows (P8).
//
// The same stage runs staged (between topics) and fused (its output is the deduplicator's input).
package transformer

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/mapping"
)

// Stage is the service's name in topics, metrics and logs.
const Stage = "transformer"

// Config says how the stage works.
type Config struct {
	Mapping *mapping.Mapping
	// Workers is how many cores a large batch is spread over; 0: all.
	Workers int
}

// Transformer yields mapped batches. It is for one goroutine, like every Source.
type Transformer struct {
	in      frontier.Source[change.Change]
	mappers []*mapping.Mapper
	failed  error // what stopped the stage
}

var _ frontier.Source[change.Mapped] = (*Transformer)(nil)

// New puts the stage behind its input.
func New(cfg Config, in frontier.Source[change.Change]) *Transformer {
	workers := cfg.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	t := &Transformer{in: in}
	for range workers {
		t.mappers = append(t.mappers, cfg.Mapping.Mapper())
	}
	return t
}

// Ready says whether the input has something.
func (t *Transformer) Ready() bool { return t.failed != nil || t.in.Ready() }

// Next maps the next batch; a claim is passed on as it is.
func (t *Transformer) Next(ctx context.Context) (frontier.Event[change.Mapped], error) {
	if t.failed != nil {
		return frontier.Event[change.Mapped]{}, t.failed
	}
	event, err := t.in.Next(ctx)
	if err != nil {
		return frontier.Event[change.Mapped]{}, err
	}
	if event.Batch == nil {
		return frontier.Event[change.Mapped]{Claim: event.Claim}, nil
	}
	in := event.Batch
	out := &frontier.Batch[change.Mapped]{Offset: in.Offset, Frontier: in.Frontier, Changes: make([]change.Mapped, len(in.Changes))}
	if err := t.mapAll(in.Changes, out.Changes); err != nil {
		t.failed = err
		return frontier.Event[change.Mapped]{}, err
	}
	return frontier.Event[change.Mapped]{Batch: out}, nil
}

// share is the least number of changes that is worth a goroutine.
const share = 512

// mapAll spreads the batch over the mappers in contiguous parts, so that order is kept and the first error in order wins.
func (t *Transformer) mapAll(in []change.Change, out []change.Mapped) error {
	parts := min(len(t.mappers), (len(in)+share-1)/share)
	if parts <= 1 {
		return mapPart(t.mappers[0], in, out)
	}
	errs := make([]error, parts)
	var group errgroup.Group
	for i := range parts {
		from, to := i*len(in)/parts, (i+1)*len(in)/parts
		group.Go(func() error {
			errs[i] = mapPart(t.mappers[i], in[from:to], out[from:to])
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func mapPart(m *mapping.Mapper, in []change.Change, out []change.Mapped) error {
	for i := range in {
		if err := m.Map(&in[i], &out[i]); err != nil && !setAside(&out[i], err) {
			return err
		}
	}
	return nil
}

// setAside passes a change on with its fault instead of its rows: the applier parks its key, and the others go on. False where the
// fault is not the change's own, or nothing identifies its row.
func setAside(out *change.Mapped, err error) bool {
	if fault.ClassOf(err) != fault.ClassPoison || out.SourceKey == nil {
		return false
	}
	out.Ops, out.Want = nil, nil
	out.Fault = &change.Fault{Stage: Stage, Code: change.FaultMapping, Text: err.Error()}
	return true
}
