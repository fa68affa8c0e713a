package demo

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"segue/pkg/pgtest"
)

const fingerprint = `SELECT md5(string_agg(t, '' ORDER BY t)) FROM (
	SELECT id::text || email || full_name || coalesce(phone, '-') AS t FROM public.customers WHERE email IS NOT NULL
	UNION ALL SELECT id::text || md5(body) FROM public.notes UNION ALL SELECT order_id::text || line_no || sku || unit_price FROM public.order_lines) x`

// TestSeedIsDeterministic: two shops of one size are the same shop, and seeding again changes nothing.
func TestSeedIsDeterministic(t *testing.T) {
	ctx := t.Context()
	var sums []string
	for range 2 {
		legacy, target := pgtest.Connect(t, pgtest.Database(t)), pgtest.Connect(t, pgtest.Database(t))
		for range 2 {
			if err := Seed(ctx, legacy, target, 3000); err != nil {
				t.Fatal(err)
			}
		}
		var sum string
		if err := legacy.QueryRow(ctx, fingerprint).Scan(&sum); err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	if sums[0] != sums[1] {
		t.Errorf("two shops differ: %s", sums)
	}
}

// TestShopHasItsDirt holds what the mapping is shown with: without these the demo would prove less than it says.
func TestShopHasItsDirt(t *testing.T) {
	ctx := t.Context()
	legacy, target := pgtest.Connect(t, pgtest.Database(t)), pgtest.Connect(t, pgtest.Database(t))
	if err := Seed(ctx, legacy, target, 20_000); err != nil {
		t.Fatal(err)
	}
	for what, sql := range map[string]string{
		"mixed-case e-mails":   "SELECT count(*) FROM public.customers WHERE email <> lower(email)",
		"missing e-mails":      "SELECT count(*) FROM public.customers WHERE email IS NULL",
		"empty phones":         "SELECT count(*) FROM public.customers WHERE phone = ''",
		"names with accents":   "SELECT count(*) FROM public.customers WHERE full_name ~ '[^ -~]'",
		"prospects":            "SELECT count(*) FROM public.customers WHERE status = 'prospect'",
		"notes out of line":    "SELECT count(*) FROM public.notes WHERE pg_column_size(body) > 2000",
		"inactive addresses":   "SELECT count(*) FROM public.addresses WHERE NOT active",
		"orders of a customer": "SELECT count(*) FROM public.orders o JOIN public.customers c ON c.id = o.customer_id WHERE c.status = 'active'",
	} {
		var n int
		if err := legacy.QueryRow(ctx, sql).Scan(&n); err != nil || n == 0 {
			t.Errorf("no %s in the shop: %v", what, err)
		}
	}
	for what, sql := range map[string]string{
		"prospects with orders":        "SELECT count(*) FROM public.orders o JOIN public.customers c ON c.id = o.customer_id WHERE c.status = 'prospect'",
		"customers sharing an e-mail":  "SELECT count(*) FROM (SELECT FROM public.customers WHERE email IS NOT NULL GROUP BY lower(trim(email)) HAVING count(*) > 1) x",
		"customers without any letter": "SELECT count(*) FROM public.customers WHERE trim(full_name) = ''",
	} {
		var n int
		if err := legacy.QueryRow(ctx, sql).Scan(&n); err != nil || n > 0 {
			t.Errorf("%d %s: the new store would refuse them: %v", n, what, err)
		}
	}
}

// TestTrafficDoesEverything: every kind of transaction commits, and the shop stays fit for the new store.
func TestTrafficDoesEverything(t *testing.T) {
	url := pgtest.Database(t)
	legacy := pgtest.Connect(t, url)
	if err := Seed(t.Context(), legacy, pgtest.Connect(t, pgtest.Database(t)), 3000); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	traffic, err := NewTraffic(t.Context(), pool, 3000)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- traffic.Run(ctx, 4, 0) }()
	for traffic.Transactions.Load() < 2000 {
		select {
		case err := <-ended:
			t.Fatalf("traffic ended by itself: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := orphans(t, legacy); n > 0 {
		t.Errorf("%d orders of prospects", n)
	}
	if traffic.Changes.Load() <= traffic.Transactions.Load() {
		t.Errorf("%d changes in %d transactions: there should be more", traffic.Changes.Load(), traffic.Transactions.Load())
	}
}

func orphans(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	err := conn.QueryRow(t.Context(), "SELECT count(*) FROM public.orders o JOIN public.customers c ON c.id = o.customer_id WHERE c.status = 'prospect'").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLagIsSummarised(t *testing.T) {
	p := &Probe{}
	for i := range 100 {
		p.lag = append(p.lag, time.Duration(100-i)*time.Millisecond)
	}
	lag, n := p.Since(0)
	if n != 100 || lag.Samples != 100 || lag.P50 != 51*time.Millisecond || lag.P99 != 100*time.Millisecond || lag.Max != 100*time.Millisecond {
		t.Errorf("got %+v of %d", lag, n)
	}
	if lag, _ := p.Since(90); lag.Samples != 10 || lag.Max != 10*time.Millisecond {
		t.Errorf("the last ten: %+v", lag)
	}
}
