package stacktest_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/embedded"
	"segue/pkg/stacktest"
)

// BenchmarkReader measures the reader alone, from the source's log to acknowledged records in Kafka, beside pg_recvlogical, PostgreSQL's own
// client, which decodes nothing and writes what it gets to a file. BENCH_ROWS / 2 changes (1 million) wait in the log: first in transactions
// of 1 000 rows, half of them inserts, half updates; then all in one transaction.
func BenchmarkReader(b *testing.B) {
	changes := number(b, "BENCH_ROWS", 2_000_000) / 2
	r := &results{name: "reader"}
	for _, name := range []string{native, "kafka", "embedded"} {
		b.Run(name, func(b *testing.B) {
			if name == "kafka" {
				readerAlone(b, &results{}, name, max(changes/10, 10*batch)) // the broker compiles its code meanwhile
			}
			for range b.N {
				readerAlone(b, r, name, changes)
			}
		})
	}
	r.write(b)
}

// follower takes the log of a slot.
type follower interface {
	begin(b *testing.B)
	passed(b *testing.B, lsn string) // waits
	end(b *testing.B)
	costs() cost
}

func readerAlone(b *testing.B, r *results, name string, changes int) {
	cfg := stacktest.Config{Form: stacktest.Fused, Spec: "tables: [{from: \"public.*\"}]\n"}
	if name != "kafka" {
		servers, err := embedded.Open(b.Context(), embedded.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = servers.Close() })
		cfg.Brokers, cfg.Registry = servers.Addresses().Brokers, servers.Addresses().Registry
	}
	s := stacktest.Open(b, cfg)
	legacy := stacktest.Connect(b, s.Legacy)
	sql(b, legacy, customersTable)
	sql(b, stacktest.Connect(b, s.Target), customersTable)
	var f follower = &segueReader{s: s}
	if name == native {
		f = &recvlogical{s: s, file: filepath.Join(b.TempDir(), "log")}
	}
	f.begin(b)
	for _, work := range []struct {
		name, sql string
		changes   int
	}{
		{"reader catch-up", manyTransactions(changes), changes / (2 * batch) * 2 * batch},
		{"reader, one transaction", oneTransaction(changes), changes},
	} {
		f.end(b)
		sql(b, legacy, work.sql, "CHECKPOINT")
		lsn := tip(b, legacy)
		before, begun := f.costs(), time.Now()
		f.begin(b)
		f.passed(b, lsn)
		r.add(f.costs().since(before, figure{Work: work.name, Form: name, Changes: work.changes, Seconds: time.Since(begun).Seconds()}))
	}
	f.end(b)
}

func manyTransactions(changes int) string {
	return fmt.Sprintf(`DO $$ BEGIN
		FOR n IN 0..%d LOOP
			INSERT INTO public.customers SELECT %s FROM generate_series(n * %d + 1, (n + 1) * %d) g;
			COMMIT;
			UPDATE public.customers SET balance = balance + 1, note = 'changed ' || note WHERE id > n * %d AND id <= (n + 1) * %d;
			COMMIT;
		END LOOP;
	END $$`, changes/(2*batch)-1, customerRow, batch, batch, batch, batch)
}

func oneTransaction(changes int) string {
	return fmt.Sprintf("INSERT INTO public.customers SELECT %s FROM generate_series(%d, %d) g", customerRow, 2*changes, 3*changes-1)
}

// tip is where the log ends; something comes behind it, so that whoever reads the log learns that it was passed.
func tip(b *testing.B, conn *pgx.Conn) (lsn string) {
	b.Helper()
	if err := conn.QueryRow(b.Context(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&lsn); err != nil {
		b.Fatal(err)
	}
	sql(b, conn, "SELECT pg_logical_emit_message(true, 'bench', '')")
	return lsn
}

// segueReader is the product's.
type segueReader struct{ s *stacktest.Stack }

func (r *segueReader) begin(b *testing.B) {
	r.s.Start(b, "reader")
	r.s.Ready(b, time.Minute)
}

func (r *segueReader) end(b *testing.B) { r.s.Stop(b) }

func (r *segueReader) costs() cost { return cost{"reader": r.s.Usage("reader")} }

// passed waits until the slot was told: then Kafka has all of it, read back and valid.
func (r *segueReader) passed(b *testing.B, lsn string) {
	b.Helper()
	want := number64(b, lsn)
	until64(b, want, func(ctx context.Context) (uint64, error) {
		text, err := r.s.Metrics(ctx)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "segue_reader_confirmed_lsn "); ok {
				f, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return uint64(f), err
			}
		}
		return 0, nil
	})
}

// recvlogical is PostgreSQL's client.
type recvlogical struct {
	s     *stacktest.Stack
	file  string
	slot  string
	cmd   *exec.Cmd
	spent time.Duration
}

func (p *recvlogical) begin(b *testing.B) {
	if p.slot != "" {
		return // it is started when the place to end at is known
	}
	p.slot = strings.ReplaceAll(p.s.Migration, "-", "_")
	sql(b, stacktest.Connect(b, p.s.Legacy), "CREATE PUBLICATION "+p.slot+" FOR ALL TABLES",
		"SELECT pg_create_logical_replication_slot('"+p.slot+"', 'pgoutput')")
}

func (p *recvlogical) end(*testing.B) {}

func (p *recvlogical) passed(b *testing.B, lsn string) {
	b.Helper()
	path, err := stacktest.ServerTool(b.Context(), "pg_recvlogical")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	p.cmd = exec.CommandContext(ctx, path, "--dbname="+p.s.Legacy, "--slot="+p.slot, "--start", "--endpos="+lsn, "--file="+p.file, "--no-loop",
		"--fsync-interval=0", "--option=proto_version=1", "--option=publication_names="+p.slot)
	if out, err := p.cmd.CombinedOutput(); err != nil {
		b.Fatalf("pg_recvlogical: %v\n%s", err, out)
	}
	p.spent += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

func (p *recvlogical) costs() cost {
	return cost{"pg_recvlogical": stacktest.Usage{CPU: p.spent}}
}

// number64 is an LSN's text as a number.
func number64(b *testing.B, lsn string) uint64 {
	b.Helper()
	var high, low uint64
	if _, err := fmt.Sscanf(lsn, "%X/%X", &high, &low); err != nil {
		b.Fatalf("%s is no LSN: %v", lsn, err)
	}
	return high<<32 | low
}

// until64 waits until a number is reached.
func until64(b *testing.B, want uint64, get func(ctx context.Context) (uint64, error)) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := get(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if n >= want {
			return
		}
		<-tick.C
	}
}
