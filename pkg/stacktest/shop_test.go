package stacktest_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"segue/pkg/stacktest"
	"segue/services/demo"
)

// shop opens a stack for the sample shop with about that many rows.
func shop(t *testing.T, form stacktest.Form, rows int64) *stacktest.Stack {
	t.Helper()
	_, tables, ok := strings.Cut(demo.Config(), "\ntables:")
	if !ok {
		t.Fatal("the shop's segue.yaml has no tables")
	}
	s := stacktest.Open(t, stacktest.Config{Form: form, Spec: "kafka: {partitions: 3}\ntables:" + tables})
	if err := demo.Seed(t.Context(), stacktest.Connect(t, s.Legacy), stacktest.Connect(t, s.Target), rows); err != nil {
		t.Fatal(err)
	}
	return s
}

// traffic runs until the returned function is called, which says how many transactions were committed.
func traffic(t *testing.T, s *stacktest.Stack, rows int64, rate int) (stop func() int64) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), s.Legacy)
	if err != nil {
		t.Fatal(err)
	}
	people, err := demo.NewTraffic(t.Context(), pool, rows)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- people.Run(ctx, 2, rate) }()
	stop = sync.OnceValue(func() int64 {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		pool.Close()
		return people.Transactions.Load()
	})
	t.Cleanup(func() { stop() })
	return stop
}

// shopPairs is the shop's mapping once more, in SQL: what segue.yaml says, written by hand.
func shopPairs() []stacktest.Pair {
	return []stacktest.Pair{
		{
			Name: "crm.customer",
			Source: `SELECT id, nullif(lower(btrim(coalesce(email, ''))), ''), substring(btrim(full_name) from '^\S+'), substring(btrim(full_name) from '\S+$'),
				nullif(regexp_replace(coalesce(phone, ''), '[^0-9]', '', 'g'), ''), country, birth_date, newsletter, created_at, 'legacy-shop'
				FROM public.customers WHERE status = 'active' ORDER BY id`,
			Target: `SELECT customer_id, email, given_name, family_name, phone_digits, country, born, newsletter, registered_at, origin FROM crm.customer ORDER BY 1`,
		},
		{
			Name:   "crm.address",
			Source: `SELECT id, customer_id, street, zip, city, country FROM public.addresses WHERE active ORDER BY id`,
			Target: `SELECT address_id, customer_id, line1, postcode, city, country FROM crm.address ORDER BY 1`,
		},
		{
			Name:   "sales.product",
			Source: `SELECT sku, title, price, weight_g, attributes, thumbnail FROM public.products ORDER BY sku COLLATE "C"`,
			Target: `SELECT sku, title, price, weight_g, attributes, thumbnail FROM sales.product ORDER BY sku COLLATE "C"`,
		},
		{
			Name:   "sales.order",
			Source: `SELECT id, customer_id, upper(status), ordered_at, total, currency, 'L-' || id, remark FROM public.orders ORDER BY id`,
			Target: `SELECT order_id, customer_id, state, placed_at, total, currency, reference, remark FROM sales."order" ORDER BY 1`,
		},
		{
			Name:   "sales.line",
			Source: `SELECT order_id, line_no, sku, quantity, unit_price FROM public.order_lines ORDER BY 1, 2`,
			Target: `SELECT order_id, line_no, sku, quantity, unit_price FROM sales.line ORDER BY 1, 2`,
		},
		{
			Name:   "crm.note",
			Source: `SELECT id, customer_id, author, body, tags, created_at FROM public.notes ORDER BY id`,
			Target: `SELECT note_id, customer_id, author, body, tags, written_at FROM crm.note ORDER BY 1`,
		},
	}
}
