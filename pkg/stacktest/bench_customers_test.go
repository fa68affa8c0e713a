package stacktest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/stacktest"
)

// The customers workload: rows of about 160 bytes with a key and eight columns. BENCH_ROWS of them (2 million) are there at
// the start; while the pipeline is stopped, a quarter as many are inserted and a quarter updated, in transactions of 1 000 rows.
const customersTable = `CREATE TABLE public.customers (id bigint PRIMARY KEY, email text NOT NULL, full_name text NOT NULL, phone text,
	country char(2) NOT NULL, created_at timestamptz NOT NULL, balance numeric(12,2) NOT NULL, note text)`

const customerRow = `g, 'customer.' || g || '@example.com', 'Given' || g % 977 || ' Family' || g % 1009, '+4989' || 1000000 + g % 8999999,
	'DE', timestamptz '2020-01-01' + g * interval '1 second', (g % 100000) / 100.0, 'a note about customer ' || md5(g::text)`

const batch = 1000 // rows per transaction

// marker is the last transaction of a run, by which its end is seen.
const marker = "UPDATE public.customers SET note = '%s' WHERE id = 1"

// BenchmarkCustomers measures snapshot and catch-up.
func BenchmarkCustomers(b *testing.B) {
	rows := number(b, "BENCH_ROWS", 2_000_000)
	r := &results{name: "customers"}
	for _, c := range contenders(b) {
		b.Run(c.name, func(b *testing.B) {
			warm(b, c, rows)
			for range b.N {
				customers(b, r, c, rows)
			}
		})
	}
	r.write(b)
}

// warm runs a tenth of the rows once through a broker that has just started: it compiles its code meanwhile. Brokers run for weeks.
func warm(b *testing.B, c contender, rows int) {
	if c.form == stacktest.Fused || c.form == stacktest.Staged {
		customers(b, &results{}, c, max(rows/10, 10*batch))
	}
}

func customers(b *testing.B, r *results, c contender, rows int) {
	s := open(b, c)
	legacy, target := stacktest.Connect(b, s.Legacy), stacktest.Connect(b, s.Target)
	sql(b, legacy, customersTable, fmt.Sprintf("INSERT INTO public.customers SELECT %s FROM generate_series(1, %d) g", customerRow, rows),
		"VACUUM ANALYZE public.customers", "CHECKPOINT")
	sql(b, target, customersTable, "CHECKPOINT")
	m := mover(b, s, c)

	before, begun := m.costs(), time.Now()
	m.begin(b)
	m.loaded(b)
	r.add(m.costs().since(before, figure{Work: "snapshot", Form: c.name, Changes: rows, Seconds: time.Since(begun).Seconds()}))

	m.stop(b)
	part := rows / 4 / batch
	sql(b, legacy, fmt.Sprintf(`DO $$ BEGIN
		FOR n IN 0..%d LOOP
			INSERT INTO public.customers SELECT %s FROM generate_series(%d + n * %d + 1, %d + (n + 1) * %d) g;
			COMMIT;
			UPDATE public.customers c SET balance = balance + 1, note = 'changed ' || c.note FROM generate_series(n * %d, n * %d + %d) g WHERE c.id = g * 4 + 1;
			COMMIT;
		END LOOP;
	END $$`, part-1, customerRow, rows, batch, rows, batch, batch, batch, batch-1), fmt.Sprintf(marker, "caught up"))

	before, begun = m.costs(), time.Now()
	m.begin(b)
	seen(b, target, "caught up")
	r.add(m.costs().since(before, figure{Work: "catch-up", Form: c.name, Changes: 2 * part * batch, Seconds: time.Since(begun).Seconds()}))
	equal(b, legacy, target)
	m.stop(b)
}

func open(b *testing.B, c contender) *stacktest.Stack {
	form := c.form
	if c.name == native {
		form = stacktest.Embedded // brings no servers that would take memory and time
	}
	return stacktest.Open(b, stacktest.Config{Form: form, Spec: "tables: [{from: \"public.*\"}]\n"})
}

// seen waits until the target shows the source's last transaction.
func seen(b *testing.B, target *pgx.Conn, note string) {
	b.Helper()
	until(b, target, "SELECT note = '"+note+"' FROM public.customers WHERE id = 1")
}

// until waits for a query to say true. It looks seldom: looking costs, too.
func until(b *testing.B, conn *pgx.Conn, query string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		if err := conn.QueryRow(ctx, query).Scan(&ok); err != nil {
			b.Fatalf("%s: %v", query, err)
		}
		if ok {
			return
		}
		<-tick.C
	}
}

// equal holds the two tables against each other: a fast pipeline that loses a row has not won.
func equal(b *testing.B, legacy, target *pgx.Conn) {
	b.Helper()
	var sums [2]string
	for i, conn := range []*pgx.Conn{legacy, target} {
		const sum = "SELECT count(*) || ' rows, ' || sum(hashtextextended(c::text, 0)::numeric) FROM public.customers c"
		if err := conn.QueryRow(b.Context(), sum).Scan(&sums[i]); err != nil {
			b.Fatal(err)
		}
	}
	if sums[0] != sums[1] {
		b.Fatalf("the stores differ: source %s, target %s", sums[0], sums[1])
	}
}

func sql(b *testing.B, conn *pgx.Conn, statements ...string) {
	b.Helper()
	for _, s := range statements {
		if _, err := conn.PgConn().Exec(b.Context(), s).ReadAll(); err != nil {
			b.Fatalf("%.200s: %v", s, err)
		}
	}
}
