package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"

	"segue/pkg/change"
	"segue/pkg/frontier"
)

type tapes struct {
	events []frontier.Event[frontier.Message]
}

func (t *tapes) Ready() bool { return len(t.events) > 0 }

func (t *tapes) Next(context.Context) (frontier.Event[frontier.Message], error) {
	if len(t.events) == 0 {
		return frontier.Event[frontier.Message]{}, io.EOF
	}
	e := t.events[0]
	t.events = t.events[1:]
	return e, nil
}

func batchOf(offset int64, n int) frontier.Event[frontier.Message] {
	b := &frontier.Batch[frontier.Message]{Offset: offset, Frontier: &frontier.Frontier{At: change.Position{LSN: uint64(offset)}}}
	for i := range n {
		b.Changes = append(b.Changes, frontier.Message{Lane: i % 7, Pos: change.Position{LSN: 1, Seq: uint64(i)}, Value: []byte(strconv.Itoa(i))})
	}
	return frontier.Event[frontier.Message]{Batch: b}
}

var errNumber = errors.New("no number")

func number(_ *Arena, m *frontier.Message, into *int) (err error) {
	if *into, err = strconv.Atoi(string(m.Value)); err != nil {
		return errNumber
	}
	return nil
}

func TestDecodedKeepsOrderFrontiersAndLanes(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 513, 5000} {
		for _, workers := range []int{0, 1, 2, 5} {
			t.Run(fmt.Sprintf("%d changes, %d workers", n, workers), func(t *testing.T) {
				claim := &frontier.Record{Claim: &frontier.Claim{}}
				d := NewDecoded(&tapes{events: []frontier.Event[frontier.Message]{batchOf(3, 2), {Claim: claim}, batchOf(9, n)}}, workers, number)
				if _, err := d.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
				if e, err := d.Next(t.Context()); err != nil || e.Claim != claim {
					t.Fatalf("claim: %v, %v", e, err)
				}
				e, err := d.Next(t.Context())
				if err != nil || e.Batch.Offset != 9 || e.Batch.Frontier.At.LSN != 9 || len(e.Batch.Changes) != n {
					t.Fatalf("batch: %v, %v", e, err)
				}
				for i, got := range e.Batch.Changes {
					lane, err := d.Lane()
					if got != i || lane != i%7 || err != nil {
						t.Fatalf("change %d: %d by lane %d, %v", i, got, lane, err)
					}
				}
				if _, err := d.Lane(); err == nil {
					t.Error("a lane for a change that nobody sent")
				}
			})
		}
	}
}

func TestDecodedStopsForGood(t *testing.T) {
	bad := batchOf(4, 3000)
	bad.Batch.Changes[1234].Value = []byte("x")
	bad.Batch.Changes[2999].Value = []byte("y")
	d := NewDecoded(&tapes{events: []frontier.Event[frontier.Message]{bad, batchOf(5, 1)}}, 3, number)
	for range 2 {
		_, err := d.Next(t.Context())
		if !errors.Is(err, errNumber) || err.Error() != "decode at 0:0/1#1234 (lane 2, offset 0): no number" {
			t.Fatalf("got %v", err)
		}
		if !d.Ready() {
			t.Fatal("an error is something to tell")
		}
	}
}
