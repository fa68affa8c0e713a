package kafka_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// The benchmarks run on kfake in this process, and on the real Kafka that SEGUE_TEST_KAFKA names ("start": one of their own); there cpu-ns/record is
// the client's alone.
func brokers(b *testing.B, kind string) []string {
	b.Helper()
	if kind == "fake" {
		return kafkatest.Fake(b).Brokers()
	}
	switch env := os.Getenv("SEGUE_TEST_KAFKA"); env {
	case "":
		b.Skip("set SEGUE_TEST_KAFKA to brokers, or to start")
	case "start":
		return kafkatest.Real(b, kafkatest.Config{Heap: "1g"}).Brokers()
	default:
		return strings.Split(env, ",")
	}
	return nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perRecord(b *testing.B, from time.Duration) {
	b.ReportMetric(float64(cpu()-from)/float64(b.N), "cpu-ns/record")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// rowBytes is about what a change of a 160-byte row takes on the wire; it packs as such rows do.
func rowBytes(n int) []byte {
	return bytes.Join([][]byte{
		fmt.Appendf(nil, "%010d", n), []byte("first.last"), fmt.Appendf(nil, "%d@example.com", n*7919), []byte("+49 30 1234567"),
		fmt.Appendf(nil, "2024-05-%02d 12:%02d:%02d.%06d", n%28, n%60, n%59, n*13%1000000), []byte("some street 12, some town, some country"),
		fmt.Appendf(nil, "%x", n*104729*7919), []byte("active"),
	}, []byte("|"))
}

// fill writes n changes in transactions of perTx, each with a frontier of its own where every is set.
func fill(b *testing.B, r *rig, w *kafka.Writer, n, perTx int, every bool) change.Position {
	b.Helper()
	ctx := b.Context()
	rows := make([][]byte, 4096)
	for i := range rows {
		rows[i] = rowBytes(i)
	}
	b.ResetTimer()
	var last change.Position
	for i := range n {
		pos := at(uint64(1+i/perTx), uint64(1+i%perTx))
		if err := w.Append(ctx, r.laneOf(pos), pos, rows[i%len(rows)][:10], rows[i%len(rows)]); err != nil {
			b.Fatal(err)
		}
		if last = pos; i%perTx == perTx-1 || i == n-1 {
			if err := w.Cut(ctx, frontier.Cut{At: pos, Boundary: true, Confirm: pos.LSN}, every || i == n-1); err != nil {
				b.Fatal(err)
			}
		}
	}
	return last
}

func benchRig(b *testing.B, kind string) *rig {
	r := newRig(b, brokers(b, kind), fmt.Sprintf("bench%d", time.Now().UnixNano()))
	r.patient = 10 * time.Minute
	return r
}

func BenchmarkWriter(b *testing.B) {
	for _, kind := range []string{"fake", "real"} {
		b.Run(kind, func(b *testing.B) {
			r := benchRig(b, kind)
			w := r.writer()
			from := cpu()
			b.ReportAllocs()
			r.awaitValid(w, fill(b, r, w, b.N, 100, false))
			perRecord(b, from)
		})
	}
}

func BenchmarkReader(b *testing.B) {
	for _, kind := range []string{"fake", "real"} {
		for _, shape := range []string{"bulk", "trickle"} {
			b.Run(kind+"/"+shape, func(b *testing.B) {
				r := benchRig(b, kind)
				w := r.writer()
				last := fill(b, r, w, b.N, 3, shape == "trickle")
				r.awaitValid(w, last)
				crash(w)
				from := cpu()
				b.ResetTimer()
				b.ReportAllocs()
				rd, n := r.reader(nothing), 0
				for at := (change.Position{}); at.Before(last); {
					e, err := rd.Next(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if e.Batch != nil {
						n += len(e.Batch.Changes)
						at = e.Batch.Frontier.At
					}
				}
				if n != b.N {
					b.Fatalf("%d of %d records read", n, b.N)
				}
				perRecord(b, from)
			})
		}
	}
}

// From Append to the moment at which a reader hands the change on, one transaction at a time.
func BenchmarkLatency(b *testing.B) {
	for _, kind := range []string{"fake", "real"} {
		b.Run(kind, func(b *testing.B) {
			r := benchRig(b, kind)
			w, rd := r.writer(), r.reader(nothing)
			b.ResetTimer()
			for n := range b.N {
				pos := at(uint64(n+1), 1)
				if err := w.Append(b.Context(), r.laneOf(pos), pos, nil, rowBytes(n)); err != nil {
					b.Fatal(err)
				}
				if err := w.Cut(b.Context(), frontier.Cut{At: pos, Boundary: true}, false); err != nil {
					b.Fatal(err)
				}
				for got := (change.Position{}); got != pos; {
					e, err := rd.Next(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if e.Batch != nil {
						got = e.Batch.Frontier.At
					}
				}
			}
		})
	}
}
