package pgsource_test

import (
	"syscall"
	"testing"

	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// BenchmarkStream drains a slot: what the server, the connection and the decoder give together.
func BenchmarkStream(b *testing.B) {
	url := pgtest.Database(b)
	conn := pgtest.Connect(b, url)
	pgtest.Exec(b, conn, `CREATE TABLE t (id bigint PRIMARY KEY, a text, b text, c int, d numeric, e timestamptz, f text, g boolean)`)
	setup := pgsource.Setup{Slot: conn.Config().Database, Publication: "p", Tables: []table.Name{{Schema: "public", Table: "t"}}}
	if _, err := pgsource.Ensure(b.Context(), conn, setup); err != nil {
		b.Fatal(err)
	}
	shapes, err := postgres.Tables(b.Context(), conn, setup.Tables)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Exec(b.Context(), `INSERT INTO t SELECT g, md5(g::text), md5((g+1)::text), g, g * 1.01, now(), md5((g+2)::text), true FROM generate_series(1, $1) g`, b.N); err != nil {
		b.Fatal(err)
	}
	stream, err := pgsource.OpenStream(b.Context(), pgsource.StreamConfig{URL: url, App: "bench", Slot: setup.Slot, Publication: setup.Publication, Shapes: shapes})
	if err != nil {
		b.Fatal(err)
	}
	defer stream.Close()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for n := 0; n < b.N; {
		e, err := stream.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if e.Kind == pgsource.KindChange {
			n++
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/row")
}

// cpu is the processor time of this process in nanoseconds.
func cpu(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
