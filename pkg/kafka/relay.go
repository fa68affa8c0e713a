package kafka

import (
	"context"
	"fmt"
	"time"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
)

// Encoded is one change as its lane takes it: an index into the writer's lanes, the position, the bytes.
type Encoded struct {
	Lane       int
	Pos        change.Position
	Key, Value []byte
}

// RelayConfig says what a stage with topics on both sides reads and writes.
type RelayConfig[T any] struct {
	// Writer is the stage's own hop; Upstream is filled in.
	Writer WriterConfig
	// Input is the frontier topic that the stage reads.
	Input string
	// Open opens the stage's input behind the cursor: a Reader with the stage's function over it. Done is called at
	// the end.
	Open func(ctx context.Context, from frontier.Cursor) (in frontier.Source[T], done func(), err error)
	// Encode turns one change into its lane record; the bytes are the writer's from there on.
	Encode func(*T) (Encoded, error)
	// Stub makes a record that stands for a change whose own record is larger than its lane takes; it goes to the same lane. Nil: there
	// is none, and such a change stops the stage.
	Stub func(c *T, was Encoded, room int) (Encoded, error)
	// Cut is told of each batch that was passed on. It may be nil.
	Cut func(*frontier.Frontier)
}

// Relay is a stage's loop when staged: one record out for each change in, one frontier out for each frontier in.
type Relay[T any] struct {
	cfg    RelayConfig[T]
	writer *Writer
	inside bool            // the last cut was no boundary: part of a transaction was passed on
	at     change.Position // of the last boundary cut
}

// NewRelay makes a relay; Run does the work.
func NewRelay[T any](cfg RelayConfig[T]) *Relay[T] { return &Relay[T]{cfg: cfg} }

// Run claims, resumes and relays until ctx ends or something fails. It can be run again.
func (r *Relay[T]) Run(ctx context.Context) error {
	input, err := Latest(ctx, r.cfg.Writer.Kafka, r.cfg.Writer.Codec, r.cfg.Input)
	if err != nil {
		return err
	}
	r.cfg.Writer.Upstream = input.Claim
	r.writer, err = OpenWriter(ctx, r.cfg.Writer)
	if err != nil {
		return err
	}
	defer r.close(ctx)
	resumed := r.writer.Resumed()
	r.inside, r.at = false, resumed.At
	in, done, err := r.cfg.Open(ctx, InputCursor(&resumed))
	if err != nil {
		return err
	}
	defer done()
	for {
		event, err := r.next(ctx, in)
		if err != nil {
			return err
		}
		if err := r.pass(ctx, event); err != nil {
			return err
		}
	}
}

// InputCursor is where a stage's input stands at a state of its own frontier topic: a stage's confirm is its input's frontier
// offset, and both have the same position. The input's incarnation is not kept; offset and position name the frontier.
func InputCursor(s *frontier.State) frontier.Cursor {
	if s.Offset < 0 {
		return frontier.Cursor{Offset: none, Incarnation: none}
	}
	return frontier.Cursor{Offset: int64(s.Confirm), Incarnation: none, At: s.At}
}

// next waits for the input, but no longer than the writer can write.
func (r *Relay[T]) next(ctx context.Context, in frontier.Source[T]) (frontier.Event[T], error) {
	if in.Ready() {
		return in.Next(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(r.writer.ctx, func() { cancel(ErrClosed) })
	defer stop()
	event, err := in.Next(ctx)
	if broken := r.writer.Err(); err != nil && broken != nil {
		return event, broken
	}
	return event, err
}

func (r *Relay[T]) pass(ctx context.Context, event frontier.Event[T]) error {
	if event.Claim != nil {
		return r.takenBack(ctx, event.Claim.Offset)
	}
	batch := event.Batch
	for i := range batch.Changes {
		e, err := r.cfg.Encode(&batch.Changes[i])
		if err != nil {
			return fmt.Errorf("encode for %s at %s: %w", r.cfg.Writer.FrontierTopic, batch.Frontier.At, err)
		}
		if room := r.writer.Room(e.Lane); len(e.Key)+len(e.Value) > room && r.cfg.Stub != nil {
			if e, err = r.cfg.Stub(&batch.Changes[i], e, room); err != nil {
				return fmt.Errorf("encode for %s at %s: %w", r.cfg.Writer.FrontierTopic, batch.Frontier.At, err)
			}
		}
		if err := r.writer.Append(ctx, e.Lane, e.Pos, e.Key, e.Value); err != nil {
			return err
		}
	}
	f := batch.Frontier
	if err := r.writer.Cut(ctx, cutOf(batch.Offset, f), true); err != nil {
		return err
	}
	if r.inside = !f.Boundary; f.Boundary {
		r.at = f.At
	}
	if r.cfg.Cut != nil {
		r.cfg.Cut(f)
	}
	return nil
}

// cutOf carries over what the input's frontier says; the input is acknowledged by its offset.
func cutOf(offset int64, f *frontier.Frontier) frontier.Cut {
	return frontier.Cut{
		At: f.At, Boundary: f.Boundary, Confirm: uint64(offset), Requests: f.Requests,
		Loads: f.Loads, Loaded: f.Loaded, Marks: f.Marks, Committed: f.Committed,
	}
}

// takenBack answers a claim of the input: it takes back what lies beyond the last boundary. Where part of that was passed on, the stage claims
// anew, once, and goes on behind the input's claim: the input writes all of it again.
func (r *Relay[T]) takenBack(ctx context.Context, claim int64) error {
	if !r.inside {
		return nil
	}
	if err := r.writer.Reclaim(ctx, claim); err != nil {
		return err
	}
	if resumed := r.writer.Resumed(); resumed.At != r.at {
		err := fmt.Errorf("claim %s again: resumed at %s, the last boundary passed on was %s", r.cfg.Writer.FrontierTopic, resumed.At, r.at)
		return fault.Transient(err) // start over from what the topic says
	}
	r.inside = false
	return nil
}

// close gives what was cut a moment to land: it is written again otherwise, nothing is lost.
func (r *Relay[T]) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = r.writer.Close(ctx) // what broke the writer was returned already
}
