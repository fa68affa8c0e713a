package transformer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/pkg/table"
	"segue/services/transformer"
)

// tape plays events, then io.EOF.
type tape struct {
	events []frontier.Event[change.Change]
}

func (t *tape) Ready() bool { return len(t.events) > 0 }

func (t *tape) Next(context.Context) (frontier.Event[change.Change], error) {
	if len(t.events) == 0 {
		return frontier.Event[change.Change]{}, io.EOF
	}
	e := t.events[0]
	t.events = t.events[1:]
	return e, nil
}

func items(schema string) *table.Table {
	return &table.Table{
		Name: table.Name{Schema: schema, Table: "items"}, Key: []int{0}, Identity: table.IdentityDefault,
		Columns: []table.Column{
			{Name: "id", Type: "bigint", Base: "bigint", NotNull: true},
			{Name: "price", Type: "integer", Base: "integer", NotNull: true},
		},
	}
}

func compile(t *testing.T) *mapping.Mapping {
	t.Helper()
	spec, err := migration.Parse(migration.Input{Path: "segue.yaml", Text: []byte(`
migration: shop
source: {postgres: a}
target: {postgres: b}
tables:
  - {from: public.items, to: sales.items, where: price >= 0, set: {id: id, price: 100 / price * price}}
`)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mapping.Compile(spec, []*table.Table{items("public")}, []*table.Table{items("sales")})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func inserts(prices ...int) []change.Change {
	shape := items("public")
	out := make([]change.Change, len(prices))
	for i, p := range prices {
		out[i] = change.Change{
			Pos: change.Position{Epoch: 1, LSN: 5, Seq: uint64(i) + 1}, Table: shape, Op: change.Insert,
			After: change.Row{change.String(strconv.Itoa(i)), change.String(strconv.Itoa(p))},
		}
	}
	return out
}

func batch(changes []change.Change) frontier.Event[change.Change] {
	return frontier.Event[change.Change]{Batch: &frontier.Batch[change.Change]{Offset: 4, Frontier: &frontier.Frontier{Incarnation: 3}, Changes: changes}}
}

// A batch that is spread over several goroutines comes out in order, one for one, behind its own frontier.
func TestOneOutForEachInInOrder(t *testing.T) {
	const n = 5000
	prices := make([]int, n)
	for i := range prices {
		prices[i] = i%7 - 1
		if prices[i] == 0 {
			prices[i] = 1
		}
	}
	in := batch(inserts(prices...))
	for _, workers := range []int{0, 1, 3} {
		s := transformer.New(transformer.Config{Mapping: compile(t), Workers: workers}, &tape{events: []frontier.Event[change.Change]{in}})
		event, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := event.Batch
		if out.Offset != 4 || out.Frontier != in.Batch.Frontier || len(out.Changes) != n {
			t.Fatalf("workers %d: offset %d, %d changes; want the input's", workers, out.Offset, len(out.Changes))
		}
		for i, m := range out.Changes {
			want := change.Insert
			if prices[i] < 0 {
				want = change.Delete // left out by where
			}
			if m.Pos != in.Batch.Changes[i].Pos || m.Ops[0].Op != want || string(m.SourceKey[0].Bytes()) != strconv.Itoa(i) {
				t.Fatalf("workers %d: change %d became %+v", workers, i, m)
			}
		}
	}
}

func TestClaimsPassAndEndsToo(t *testing.T) {
	claim := &frontier.Record{Offset: 9, Claim: &frontier.Claim{Owner: "x"}}
	s := transformer.New(transformer.Config{Mapping: compile(t)}, &tape{events: []frontier.Event[change.Change]{{Claim: claim}}})
	if !s.Ready() {
		t.Fatal("not ready though the input is")
	}
	event, err := s.Next(t.Context())
	if err != nil || event.Claim != claim || event.Batch != nil {
		t.Fatalf("got %+v, %v; want the claim as it came", event, err)
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, io.EOF) || s.Ready() {
		t.Fatalf("got %v; want the input's own end", err)
	}
}

// P1 and P10: a change that the mapping has no result for is passed on in its place, with its key and its fault, by name and position and without
// its value; the others are what they would be without it.
func TestFaultsArePassedOn(t *testing.T) {
	prices := make([]int, 4000)
	for i := range prices {
		prices[i] = 1
	}
	prices[1234], prices[3999] = 0, 0
	s := transformer.New(transformer.Config{Mapping: compile(t), Workers: 4}, &tape{events: []frontier.Event[change.Change]{batch(inserts(prices...))}})
	event, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range event.Batch.Changes {
		if prices[i] != 0 {
			if m.Fault != nil || len(m.Ops) != 1 {
				t.Fatalf("change %d became %+v", i, m)
			}
			continue
		}
		if m.Fault == nil || m.Ops != nil || m.Want != nil || string(m.SourceKey[0].Bytes()) != strconv.Itoa(i) || m.Fault.Stage != "transformer" || m.Fault.Code != change.FaultMapping {
			t.Fatalf("change %d became %+v", i, m)
		}
		if want := fmt.Sprintf("map public.items to sales.items.price at 1:0/5#%d: division by zero", i+1); m.Fault.Text != want {
			t.Fatalf("got  %v\nwant %s", m.Fault.Text, want)
		}
	}
}

// P1: what is not the fault of one row stops the stage for good: asking again gives the same error, never the next batch.
func TestFirstErrorStopsForGood(t *testing.T) {
	strange := batch(inserts(1, 1, 1))
	strange.Batch.Changes[1].Table = &table.Table{Name: table.Name{Schema: "public", Table: "unknown"}}
	s := transformer.New(transformer.Config{Mapping: compile(t), Workers: 4}, &tape{events: []frontier.Event[change.Change]{strange, batch(inserts(1))}})
	for range 2 {
		_, err := s.Next(t.Context())
		if err == nil || fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), "public.unknown") {
			t.Fatalf("got %v; want a fatal fault", err)
		}
		if !s.Ready() {
			t.Fatal("a stopped stage must say that it has something to tell")
		}
	}
}
