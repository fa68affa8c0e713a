package wire

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"segue/pkg/frontier"
)

// Decode reads a message of a hop into the zero value that it is given.
type Decode[T any] func(a *Arena, m *frontier.Message, into *T) error

// Decoded makes typed batches of a hop's messages: one out for each one in, behind the same frontier. A message that
// cannot be read stops it for good (P1). Large batches are spread over cores. It is for one goroutine.
type Decoded[T any] struct {
	in     frontier.Source[frontier.Message]
	decode Decode[T]
	arenas []Arena // one for each worker
	lanes  []int   // of the last batch's changes
	asked  int     // how many of them Lane has told
	failed error
}

// NewDecoded puts the decoder behind a hop's reader.
func NewDecoded[T any](in frontier.Source[frontier.Message], workers int, decode Decode[T]) *Decoded[T] {
	return &Decoded[T]{in: in, decode: decode, arenas: make([]Arena, max(1, workers))}
}

// Ready says whether Next would return at once.
func (d *Decoded[T]) Ready() bool { return d.failed != nil || d.in.Ready() }

// Next decodes the next batch; a claim is passed on as it is.
func (d *Decoded[T]) Next(ctx context.Context) (frontier.Event[T], error) {
	if d.failed != nil {
		return frontier.Event[T]{}, d.failed
	}
	event, err := d.in.Next(ctx)
	if err != nil {
		return frontier.Event[T]{}, err
	}
	if event.Batch == nil {
		return frontier.Event[T]{Claim: event.Claim}, nil
	}
	in := event.Batch
	out := &frontier.Batch[T]{Offset: in.Offset, Frontier: in.Frontier, Changes: make([]T, len(in.Changes))}
	if d.failed = d.all(in.Changes, out.Changes); d.failed != nil {
		return frontier.Event[T]{}, d.failed
	}
	d.lanes, d.asked = d.lanes[:0], 0
	for i := range in.Changes {
		d.lanes = append(d.lanes, in.Changes[i].Lane)
	}
	return frontier.Event[T]{Batch: out}, nil
}

// Lane returns the lane that the next change of the last batch came by, in the order of the batch: a stage that hands on
// one record for each one in asks once for each, so that input lane n goes to output lane n.
func (d *Decoded[T]) Lane() (int, error) {
	if d.asked == len(d.lanes) {
		return 0, errors.New("a stage handed on more changes than it got")
	}
	d.asked++
	return d.lanes[d.asked-1], nil
}

// decodeShare is the least number of messages that is worth a goroutine.
const decodeShare = 512

// all spreads the batch over the arenas in contiguous parts; the first error in order wins.
func (d *Decoded[T]) all(in []frontier.Message, out []T) error {
	parts := min(len(d.arenas), (len(in)+decodeShare-1)/decodeShare)
	if parts <= 1 {
		return d.some(&d.arenas[0], in, out)
	}
	errs := make([]error, parts)
	var group errgroup.Group
	for i := range parts {
		from, to := i*len(in)/parts, (i+1)*len(in)/parts
		group.Go(func() error {
			errs[i] = d.some(&d.arenas[i], in[from:to], out[from:to])
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

func (d *Decoded[T]) some(a *Arena, in []frontier.Message, out []T) error {
	for i := range in {
		m := &in[i]
		if err := d.decode(a, m, &out[i]); err != nil {
			return fmt.Errorf("decode at %s (lane %d, offset %d): %w", m.Pos, m.Lane, m.Offset, err)
		}
	}
	return nil
}
