package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// sizes says how many rows each table gets; they add up to about the rows asked for.
type sizes struct{ customers, addresses, products, orders, lines, notes int64 }

func sizesFor(rows int64) sizes {
	return sizes{
		customers: max(rows*13/100, 20), addresses: max(rows*17/100, 10), products: max(rows*2/100, 10),
		orders: max(rows*20/100, 10), lines: max(rows*45/100, 10), notes: max(rows*3/100, 10),
	}
}

// prospect says whether a customer has no orders yet: such customers do not move.
func prospect(id int64) bool { return id%10 == 0 }

// buyer maps any number to a customer who is no prospect.
func buyer(n, customers int64) int64 {
	id := n%customers + 1
	if prospect(id) {
		id--
	}
	return max(id, 1)
}

// generator makes one table's rows.
type generator struct {
	table   string
	columns []string
	rows    int64
	row     func(r *rand.Rand, i int64) []any // i counts from 1
}

func sku(i int64) string { return fmt.Sprintf("SKU-%05d", i) }

func generators(n sizes) []generator {
	day := func(i int64) time.Time { return epochStart().Add(time.Duration(i) * 37 * time.Minute) }
	linesPerOrder := max(n.lines/n.orders, 1)
	return []generator{
		{"customers", []string{"id", "email", "full_name", "phone", "country", "birth_date", "newsletter", "status", "created_at", "legacy_flags", "fax"}, n.customers,
			func(r *rand.Rand, i int64) []any {
				status := "active"
				if prospect(i) {
					status = "prospect"
				}
				born := time.Date(1930+r.IntN(75), time.Month(1+r.IntN(12)), 1+r.IntN(28), 0, 0, 0, 0, time.UTC)
				return []any{i, email(r, i), fullName(r), phone(r), pick(r, countries), nullable(r, born), r.IntN(3) == 0, status, day(i), int32(r.IntN(64)), nullable(r, "")}
			}},
		{"products", []string{"sku", "title", "price", "weight_g", "attributes", "thumbnail"}, n.products,
			func(r *rand.Rand, i int64) []any {
				attributes := fmt.Sprintf(`{"colour": %q, "sizes": [%d, %d.50], "nested": {"ok": true, "none": null}}`, pick(r, words), r.IntN(50), r.IntN(9))
				thumb := make([]byte, r.IntN(200))
				for k := range thumb {
					thumb[k] = byte(r.IntN(256))
				}
				return []any{sku(i), text(r, 20), cents(r, 20_000), nullable(r, int32(r.IntN(9000))), nullable(r, attributes), nullable(r, thumb)}
			}},
		{"addresses", []string{"id", "customer_id", "street", "zip", "city", "country", "active"}, n.addresses,
			func(r *rand.Rand, i int64) []any {
				return []any{i, buyer(i*7, n.customers), fmt.Sprintf("%s %d", pick(r, streets), 1+r.IntN(200)), nullable(r, fmt.Sprintf("%05d", r.IntN(99999))), pick(r, cities), pick(r, countries), r.IntN(15) > 0}
			}},
		{"orders", []string{"id", "customer_id", "status", "ordered_at", "total", "currency", "remark"}, n.orders,
			func(r *rand.Rand, i int64) []any {
				return []any{i, buyer(i*13, n.customers), pick(r, states), day(i * 2), cents(r, 90_000), pick(r, currencies), nullable(r, text(r, 30))}
			}},
		{"order_lines", []string{"order_id", "line_no", "sku", "quantity", "unit_price"}, linesPerOrder * n.orders,
			func(r *rand.Rand, i int64) []any {
				return []any{(i-1)/linesPerOrder + 1, int32((i-1)%linesPerOrder + 1), sku(1 + r.Int64N(n.products)), int32(1 + r.IntN(9)), cents(r, 20_000)}
			}},
		{"notes", []string{"id", "customer_id", "author", "body", "tags", "internal", "created_at"}, n.notes,
			func(r *rand.Rand, i int64) []any {
				return []any{noteID(i), buyer(i*3, n.customers), pick(r, givenNames), noteBody(r), []string{pick(r, words), "a,b \"c\"", ""}, r.IntN(20) == 0, day(i * 5)}
			}},
	}
}

func cents(r *rand.Rand, most int) string {
	return fmt.Sprintf("%d.%02d", r.IntN(most/100), r.IntN(100))
}

func noteID(i int64) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", i) }

// Seed makes the legacy shop's tables with about the given number of rows, and the new store's empty ones, each store in one
// transaction. What is there already is left alone.
func Seed(ctx context.Context, legacy, target *pgx.Conn, rows int64) error {
	err := once(ctx, legacy, "public.customers", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, legacySQL()); err != nil {
			return err
		}
		for n, g := range generators(sizesFor(rows)) {
			if err := fill(ctx, tx, g, uint64(n)); err != nil {
				return fmt.Errorf("fill %s: %w", g.table, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the legacy shop: %w", err)
	}
	err = once(ctx, target, "crm.customer", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, targetSQL())
		return err
	})
	if err != nil {
		return fmt.Errorf("make the new store: %w", err)
	}
	_, err = legacy.Exec(ctx, "ANALYZE")
	return err
}

// once runs do in a transaction, unless the table is there.
func once(ctx context.Context, conn *pgx.Conn, table string, do func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&there); err != nil || there {
			return err
		}
		return do(tx)
	})
}

// fill converts through text, so that dates, arrays and numerics need no types of the driver.
func fill(ctx context.Context, tx pgx.Tx, g generator, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 42))
	i := int64(0)
	source := pgx.CopyFromFunc(func() ([]any, error) {
		if i == g.rows {
			return nil, nil
		}
		i++
		return g.row(r, i), nil
	})
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"public", g.table}, g.columns, source)
	return err
}
