package reconciler

import (
	"testing"

	"segue/pkg/reconcile"
)

// BenchmarkCompare reports rows per second, both sides counted once, of a pure copy and of rows that have to be mapped.
func BenchmarkCompare(b *testing.B) {
	const rows = 200_000
	for _, c := range []struct{ name, tables, ddl string }{
		{"pure", "  - from: public.*\n", customersDDL},
		{"mapped", "  - from: public.*\n    set: {id: id, name: 'name + \"\"', email: email, balance: balance, seen: seen}\n", customersDDL},
		{"types", "  - from: public.*\n", `CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, email varchar(80), balance numeric(14,2), seen timestamptz(6))`},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, c.tables, []string{customersDDL, fill(rows), `VACUUM ANALYZE customers`}, []string{c.ddl, fill(rows), `VACUUM ANALYZE customers`})
			for b.Loop() {
				report := r.compare(Config{})
				if report.Verdict != reconcile.Pass || report.Tables[0].Rows != rows {
					b.Fatalf("%+v", report)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
