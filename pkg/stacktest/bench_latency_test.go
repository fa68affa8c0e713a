package stacktest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"segue/pkg/stacktest"
)

const (
	writers      = 5
	perSecond    = 1000 // transactions, of all writers together
	latencyStart = 100_000
	warmUp       = 40 * time.Second
)

// BenchmarkLatency measures the time from a commit's return to the first look at the target that sees it, of every transaction of
// 1 000 a second. Each changes a customer and its writer's stamp; the target's stamps are looked at every two milliseconds.
// BENCH_SECONDS (30) is how long.
func BenchmarkLatency(b *testing.B) {
	seconds := number(b, "BENCH_SECONDS", 30)
	r := &results{name: "latency"}
	for _, c := range contenders(b) {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				latency(b, r, c, time.Duration(seconds)*time.Second)
			}
		})
	}
	r.write(b)
}

func latency(b *testing.B, r *results, c contender, run time.Duration) {
	s := open(b, c)
	legacy, target := stacktest.Connect(b, s.Legacy), stacktest.Connect(b, s.Target)
	const stamps = "CREATE TABLE public.stamps (writer integer PRIMARY KEY, n bigint NOT NULL)"
	sql(b, legacy, customersTable, stamps, fmt.Sprintf("INSERT INTO public.customers SELECT %s FROM generate_series(1, %d) g", customerRow, latencyStart),
		fmt.Sprintf("INSERT INTO public.stamps SELECT g, 0 FROM generate_series(0, %d) g", writers-1), "VACUUM ANALYZE")
	sql(b, target, customersTable, stamps)
	m := mover(b, s, c)
	m.begin(b)
	m.loaded(b)

	clock := &stopwatch{}
	measure(b, s, clock, warmUp) // a broker that has just started compiles its code meanwhile
	clock.reset()
	warm := m.costs()
	begun := time.Now()
	measure(b, s, clock, run)
	took := time.Since(begun)
	p50, p99, worst := clock.summary()
	f := figure{Work: "latency", Form: c.name, Changes: len(clock.lags), P50: ms(p50), P99: ms(p99), Worst: ms(worst)}
	f = m.costs().since(warm, f)
	f.Rate = float64(f.Changes) / took.Seconds()
	f.CPU /= 2 // each transaction holds two changes
	r.figures = append(r.figures, f)
	m.stop(b)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// stopwatch knows when each writer's transactions were committed and has not been seen yet.
type stopwatch struct {
	mu        sync.Mutex
	committed [writers][]commit
	lags      []time.Duration
}

type commit struct {
	n  int64
	at time.Time
}

func (s *stopwatch) reset() { s.lags = nil }

func (s *stopwatch) commit(writer int, n int64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed[writer] = append(s.committed[writer], commit{n, at})
}

// see takes what a look at the target showed.
func (s *stopwatch) see(writer int, n int64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.committed[writer]
	for len(open) > 0 && open[0].n <= n {
		s.lags = append(s.lags, max(at.Sub(open[0].at), 0)) // seen before the commit's return reached the writer: no time at all
		open = open[1:]
	}
	s.committed[writer] = open
}

func (s *stopwatch) open() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.committed {
		n += len(c)
	}
	return n
}

func (s *stopwatch) summary() (p50, p99, worst time.Duration) {
	slices.Sort(s.lags)
	if n := len(s.lags); n > 0 {
		return s.lags[n/2], s.lags[n*99/100], s.lags[n-1]
	}
	return 0, 0, 0
}

// measure lets the writers write for a while and watches the target until it shows everything.
func measure(b *testing.B, s *stacktest.Stack, clock *stopwatch, run time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), run+5*time.Minute)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	written := make(chan struct{})
	var writing sync.WaitGroup
	for w := range writers {
		conn := stacktest.Connect(b, s.Legacy)
		writing.Add(1)
		group.Go(func() error {
			defer writing.Done()
			return write(ctx, conn, w, clock, run)
		})
	}
	go func() { writing.Wait(); close(written) }()
	watcher := stacktest.Connect(b, s.Target)
	group.Go(func() error { return watch(ctx, watcher, clock, written) })
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// write commits a transaction of two changes in one round trip, at an even pace.
func write(ctx context.Context, conn *pgx.Conn, writer int, clock *stopwatch, run time.Duration) error {
	var n int64
	if err := conn.QueryRow(ctx, "SELECT n FROM public.stamps WHERE writer = $1", writer).Scan(&n); err != nil {
		return err
	}
	pace := time.NewTicker(time.Second * writers / perSecond)
	defer pace.Stop()
	for end := time.Now().Add(run); time.Now().Before(end); {
		n++
		id := (n*writers+int64(writer))*7919%latencyStart + 1
		_, err := conn.PgConn().Exec(ctx, fmt.Sprintf("UPDATE public.customers SET balance = balance + 1 WHERE id = %d; UPDATE public.stamps SET n = %d WHERE writer = %d", id, n, writer)).ReadAll()
		if err != nil {
			return err
		}
		clock.commit(writer, n, time.Now())
		<-pace.C
	}
	return nil
}

// watch looks at the target until the writers are done and all of theirs was seen.
func watch(ctx context.Context, conn *pgx.Conn, clock *stopwatch, written <-chan struct{}) error {
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for {
		rows, err := conn.Query(ctx, "SELECT writer, n FROM public.stamps")
		if err != nil {
			return err
		}
		at := time.Now()
		var writer int
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&writer, &n}, func() error { clock.see(writer, n, at); return nil }); err != nil {
			return err
		}
		select {
		case <-written:
			if clock.open() == 0 {
				return nil
			}
		default:
		}
		<-look.C
	}
}
