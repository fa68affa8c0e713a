package pgtarget

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/frontier"
)

// The customers workload: 8 columns, about 160 bytes, the key and two more indexes.
const benchDDL = `CREATE TABLE customer (id bigint PRIMARY KEY, email text, name text, city text, balance numeric(12,2),
	created timestamptz, active boolean, note text);`

const benchIndexes = `CREATE INDEX ON customer (email); CREATE INDEX ON customer (created);`

const benchBatch = 10_000

func benchRow(id, version int) change.Row {
	return change.Row{
		change.String(fmt.Sprint(id)), change.String(fmt.Sprintf("customer%d@example.com", id)), change.String(fmt.Sprintf("Customer number %d", id)),
		change.String("Copenhagen"), change.String(fmt.Sprintf("%d.%02d", version*100+id%1000, id%100)),
		change.String(fmt.Sprintf("2024-01-%02d 10:%02d:00+00", 1+id%28, id%60)), change.String("t"),
		change.String(fmt.Sprintf("a note of some length about customer %d, version %d", id, version)),
	}
}

func (r *rig) load(op change.Op, from, n, version int) frontier.Batch[change.Mapped] {
	for i := range n {
		v := benchRow(from+i, version)
		r.add(change.Mapped{SourceOp: op, Source: r.source(0), SourceKey: v[:1], Ops: []change.RowOp{{Op: op, Row: v}}})
	}
	r.commit()
	return r.batch(true)
}

// cpuTime is the CPU time that a process on this machine has used, 0 where that cannot be read. It is steadier than rows per
// second where other work shares the cores.
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || !strings.Contains(string(stat), "(postgres)") {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func benchmark(b *testing.B, ddl string, op change.Op, next func(i int) (from, version int), partial bool) {
	r := newRig(b, ddl, "customer")
	if op != change.Read {
		r.target.copying.reset(1, false)
	}
	if err := r.apply(r.load(change.Insert, 0, benchBatch, 0)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	backend := int(r.target.conn.PgConn().PID())
	used := cpuTime(backend)
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		from, version := next(i + 1)
		batch := r.load(op, from, benchBatch, version)
		if partial {
			for j := range batch.Changes {
				batch.Changes[j].Ops[0].Row[7] = change.Absent()
			}
		}
		b.StartTimer()
		if err := r.apply(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N*benchBatch)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(cpuTime(backend)-used)/float64(b.N*benchBatch), "server-ns/row")
	if n := r.target.Stats().Halvings; n > 0 {
		b.Fatalf("%d halvings", n)
	}
}

func BenchmarkApply(b *testing.B) {
	fresh := func(i int) (int, int) { return i * benchBatch, 0 }
	same := func(i int) (int, int) { return 0, i }
	for _, table := range []struct{ name, ddl string }{{"key", benchDDL}, {"three", benchDDL + benchIndexes}} {
		b.Run(table.name+"/copy", func(b *testing.B) { benchmark(b, table.ddl, change.Read, fresh, false) })
		b.Run(table.name+"/insert", func(b *testing.B) { benchmark(b, table.ddl, change.Insert, fresh, false) })
		b.Run(table.name+"/conflict", func(b *testing.B) { benchmark(b, table.ddl, change.Update, same, false) })
		b.Run(table.name+"/partial", func(b *testing.B) { benchmark(b, table.ddl, change.Update, same, true) })
	}
}

// BenchmarkRefused is the throughput of plans of 20 000 changes in source transactions of ten, when one row in 50 000 is refused, or two rows hand a unique
// value over in the order that set-wise statements do not follow, beside that of the same without.
func BenchmarkRefused(b *testing.B) {
	for _, kind := range []string{"none", "value", "handover"} {
		b.Run(kind, func(b *testing.B) {
			r := newRig(b, benchDDL+"CREATE UNIQUE INDEX ON customer (email); ALTER TABLE customer ADD CHECK (balance >= 0)", "customer")
			r.target.copying.reset(1, false)
			const plan, every, rows = 20_000, 50_000, 40_000
			if err := r.apply(r.load(change.Insert, 0, rows, 1)); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				b.StopTimer()
				for range plan {
					n++
					id := n % rows
					v := benchRow(id, 2+n/rows)
					switch {
					case kind == "value" && n%every == 0:
						v[4] = change.String("-1")
					case kind == "handover" && (n%every == 8 || n%every == 9): // the one takes what the other had
						v[1] = change.String(fmt.Sprintf("customer%d@example.com", id^1))
					}
					r.add(change.Mapped{SourceOp: change.Update, Source: r.source(0), SourceKey: v[:1], Ops: []change.RowOp{{Op: change.Update, Row: v}}})
					if n%10 == 5 {
						r.commit()
					}
				}
				r.commit()
				batch := r.batch(true)
				b.StartTimer()
				if err := r.apply(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*plan)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(r.target.Stats().Halvings)/float64(b.N), "halvings/op")
			b.ReportMetric(float64(r.target.Progress().Parked), "parked")
		})
	}
}

// BenchmarkPrepare is the CPU that segue itself spends on a row before it is sent.
func BenchmarkPrepare(b *testing.B) {
	r := newRig(b, benchDDL, "customer")
	r.target.copying.reset(1, false)
	batch := one(r.load(change.Update, 0, benchBatch, 1))
	b.ReportAllocs()
	for b.Loop() {
		p, err := r.target.Prepare(batch)
		if err != nil {
			b.Fatal(err)
		}
		r.target.Release(p)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/row")
}

// BenchmarkSmall is the latency of one small transaction.
func BenchmarkSmall(b *testing.B) {
	r := newRig(b, benchDDL, "customer")
	backend := int(r.target.conn.PgConn().PID())
	used := cpuTime(backend)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := r.apply(r.load(change.Insert, i*3, 3, 1)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(backend)-used)/float64(b.N), "server-ns/tx")
}
