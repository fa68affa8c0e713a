package deduplicator_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/services/deduplicator"
)

// tape plays events, then io.EOF.
type tape struct {
	events []frontier.Event[change.Mapped]
}

func (t *tape) Ready() bool { return len(t.events) > 0 }

func (t *tape) Next(context.Context) (frontier.Event[change.Mapped], error) {
	if len(t.events) == 0 {
		return frontier.Event[change.Mapped]{}, io.EOF
	}
	e := t.events[0]
	t.events = t.events[1:]
	return e, nil
}

func batch(offset int64) frontier.Event[change.Mapped] {
	return frontier.Event[change.Mapped]{Batch: &frontier.Batch[change.Mapped]{
		Offset: offset, Frontier: &frontier.Frontier{Boundary: true}, Changes: make([]change.Mapped, 2),
	}}
}

func claim() frontier.Event[change.Mapped] {
	return frontier.Event[change.Mapped]{Claim: &frontier.Record{Offset: 9, Claim: &frontier.Claim{}}}
}

func TestPassesEverythingThrough(t *testing.T) {
	want := []frontier.Event[change.Mapped]{batch(3), claim(), batch(10)}
	in := &tape{events: want}
	d := deduplicator.New(deduplicator.Config{}, in)
	for _, w := range want {
		if !d.Ready() {
			t.Fatal("not ready though the input is")
		}
		got, err := d.Next(t.Context())
		if err != nil || got != w {
			t.Fatalf("got %+v, %v; want the event as it came", got, err)
		}
	}
	if _, err := d.Next(t.Context()); !errors.Is(err, io.EOF) || d.Ready() {
		t.Fatalf("got %v; want the input's own end", err)
	}
}

// entities counts what it is asked, and fails at the batch with offset bad.
type entities struct {
	decided []int64
	revoked int
	bad     int64
}

var errBad = errors.New("decide: no")

func (e *entities) Decide(_ context.Context, b *frontier.Batch[change.Mapped]) error {
	if b.Offset == e.bad {
		return errBad
	}
	e.decided = append(e.decided, b.Offset)
	b.Changes[0].SourceOp = change.Read
	return nil
}

func (e *entities) Revoke() { e.revoked++ }

func TestEntitiesDecideAndForget(t *testing.T) {
	e := &entities{bad: 11}
	d := deduplicator.New(deduplicator.Config{Entities: e}, &tape{events: []frontier.Event[change.Mapped]{batch(3), claim(), batch(10), batch(11), batch(12)}})
	first, err := d.Next(t.Context())
	if err != nil || first.Batch.Changes[0].SourceOp != change.Read {
		t.Fatalf("got %+v, %v; want the decided batch", first.Batch, err)
	}
	for range 2 {
		if _, err := d.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.decided) != 2 || e.revoked != 1 {
		t.Fatalf("decided %v, revoked %d times; want two batches and one claim", e.decided, e.revoked)
	}
	for range 2 { // P1: the batch that failed is not left out
		if _, err := d.Next(t.Context()); !errors.Is(err, errBad) {
			t.Fatalf("got %v; want the same error again", err)
		}
	}
}
