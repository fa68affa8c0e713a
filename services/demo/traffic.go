package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// Traffic is what people do to the legacy shop while it moves: orders with their lines, corrections, cancellations,
// notes, new customers; one transaction each, most of them over several tables.
type Traffic struct {
	pool     *pgxpool.Pool
	size     sizes
	nextID   atomic.Int64 // for customers, addresses, orders and notes that traffic makes
	products int64

	// Transactions and Changes count what was committed.
	Transactions, Changes atomic.Int64
}

// NewTraffic works on a shop that Seed filled with that many rows.
func NewTraffic(ctx context.Context, legacy *pgxpool.Pool, rows int64) (*Traffic, error) {
	t := &Traffic{pool: legacy, size: sizesFor(rows)}
	t.products = t.size.products
	var top int64
	const sql = "SELECT greatest((SELECT max(id) FROM public.customers), (SELECT max(id) FROM public.orders), (SELECT max(id) FROM public.addresses), 10000000)"
	if err := legacy.QueryRow(ctx, sql).Scan(&top); err != nil {
		return nil, fmt.Errorf("look where the shop's numbers end: %w", err)
	}
	t.nextID.Store(top)
	return t, nil
}

// Run commits about rate transactions a second over the workers until the context ends. rate 0: as many as go.
func (t *Traffic) Run(ctx context.Context, workers, rate int) error {
	group, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		group.Go(func() error {
			return t.work(ctx, rand.New(rand.NewPCG(uint64(w), uint64(time.Now().UnixNano()))), rate/workers)
		})
	}
	err := group.Wait()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (t *Traffic) work(ctx context.Context, r *rand.Rand, rate int) error {
	var tick <-chan time.Time
	if rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		tick = ticker.C
	}
	for ctx.Err() == nil {
		if err := t.transaction(ctx, r); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if tick == nil {
			continue
		}
		select {
		case <-tick:
		case <-ctx.Done():
		}
	}
	return nil
}

// step is one statement of a transaction with its arguments.
type step struct {
	sql  string
	args []any
}

func (t *Traffic) transaction(ctx context.Context, r *rand.Rand) error {
	steps := t.pickSteps(r)
	changes := int64(0)
	err := pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error {
		for _, s := range steps {
			tag, err := tx.Exec(ctx, s.sql, s.args...)
			if err != nil {
				return err
			}
			changes += tag.RowsAffected()
		}
		return nil
	})
	if conflict(err) {
		return nil // two workers met on one row: the shop's users would try again too
	}
	if err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	t.Transactions.Add(1)
	t.Changes.Add(changes)
	return nil
}

func (t *Traffic) pickSteps(r *rand.Rand) []step {
	switch n := r.IntN(100); {
	case n < 30:
		return t.placeOrder(r)
	case n < 50:
		return []step{{"UPDATE public.orders SET status = $2 WHERE id = $1", []any{1 + r.Int64N(t.size.orders), pick(r, states)}}}
	case n < 65:
		id := 1 + r.Int64N(t.size.customers)
		return []step{{"UPDATE public.customers SET email = $2, phone = $3, changed_at = localtimestamp WHERE id = $1", []any{id, email(r, id), phone(r)}}}
	case n < 73:
		return t.newCustomer(r)
	case n < 78:
		return t.convertProspect(r)
	case n < 84: // the long text stays as it is: the log does not carry it
		return []step{{"UPDATE public.notes SET tags = tags || $2::text, internal = NOT internal WHERE id = $1::uuid", []any{noteID(1 + r.Int64N(t.size.notes)), pick(r, words)}}}
	case n < 88:
		return []step{{"INSERT INTO public.notes VALUES ($1::uuid, $2, $3, $4, $5, false, now())", []any{noteID(t.nextID.Add(1)), buyer(r.Int64N(t.size.customers), t.size.customers), pick(r, givenNames), noteBody(r), []string{pick(r, words)}}}}
	case n < 90: // a key moves, its long text with it
		return []step{{"UPDATE public.notes SET id = $2::uuid WHERE id = $1::uuid", []any{noteID(1 + r.Int64N(t.size.notes)), noteID(t.nextID.Add(1))}}}
	case n < 94:
		return cancelOrder(1 + r.Int64N(t.size.orders))
	case n < 97:
		return []step{{"DELETE FROM public.addresses WHERE id = $1", []any{1 + r.Int64N(t.size.addresses)}}}
	default:
		return []step{{"UPDATE public.products SET price = price + 0.01, weight_g = $2 WHERE sku = $1", []any{sku(1 + r.Int64N(t.products)), nullable(r, int32(r.IntN(5000)))}}}
	}
}

func (t *Traffic) placeOrder(r *rand.Rand) []step {
	id := t.nextID.Add(1)
	steps := []step{{"INSERT INTO public.orders VALUES ($1, $2, 'new', now(), $3::numeric, $4, $5)", []any{id, buyer(r.Int64N(t.size.customers), t.size.customers), cents(r, 50_000), pick(r, currencies), nullable(r, text(r, 25))}}}
	for line := range 1 + r.IntN(4) {
		steps = append(steps, step{"INSERT INTO public.order_lines VALUES ($1, $2, $3, $4, $5::numeric)", []any{id, line + 1, sku(1 + r.Int64N(t.products)), 1 + r.IntN(5), cents(r, 9_000)}})
	}
	return steps
}

func (t *Traffic) newCustomer(r *rand.Rand) []step {
	id := t.nextID.Add(10) / 10 * 10 // ends in 0, made active at once: traffic converts those only once
	return []step{
		{"INSERT INTO public.customers VALUES ($1, $2, $3, $4, $5, NULL, $6, 'active', now(), DEFAULT, 0, '')", []any{id, email(r, id), fullName(r), phone(r), pick(r, countries), r.IntN(2) == 0}},
		{"INSERT INTO public.addresses VALUES ($1, $2, $3, NULL, $4, $5, true)", []any{t.nextID.Add(1), id, pick(r, streets), pick(r, cities), pick(r, countries)}},
	}
}

// convertProspect brings a customer into the filter, together with a first order.
func (t *Traffic) convertProspect(r *rand.Rand) []step {
	id := (1 + r.Int64N(max(t.size.customers/10, 1))) * 10
	return []step{
		{"UPDATE public.customers SET status = 'active' WHERE id = $1", []any{id}},
		{"INSERT INTO public.orders SELECT $1, id, 'new', now(), 1.00, 'EUR', NULL FROM public.customers WHERE id = $2", []any{t.nextID.Add(1), id}},
	}
}

func cancelOrder(id int64) []step {
	return []step{
		{"DELETE FROM public.order_lines WHERE order_id = $1", []any{id}},
		{"DELETE FROM public.orders WHERE id = $1", []any{id}},
	}
}

// conflict says whether the transaction lost against another one.
func conflict(err error) bool {
	var state interface{ SQLState() string }
	if !errors.As(err, &state) {
		return false
	}
	switch state.SQLState() {
	case "40P01", "40001", "23505", "23503":
		return true
	}
	return false
}
