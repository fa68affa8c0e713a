package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/embedded"
	"segue/pkg/historytest"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
)

// TestPipelineHistories runs random histories through the whole product in this process, fused and staged, with both forms of the wire, while connections
// are cut and everything is stopped and started again, and holds both stores against the model (P1, P2, P4). The seed is printed on
// failure; SEGUE_SEED runs one, SEGUE_HISTORIES sets how many.
func TestPipelineHistories(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for _, seed := range seeds(t) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			runHistory(t, servers.Addresses(), seed)
		})
	}
}

func seeds(t *testing.T) []uint64 {
	if one := os.Getenv("SEGUE_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatalf("SEGUE_SEED: %v", err)
		}
		return []uint64{seed}
	}
	n := 200
	if s := os.Getenv("SEGUE_HISTORIES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("SEGUE_HISTORIES: %v", err)
		}
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i)
	}
	return out
}

// story is one history with the pipeline that it goes through.
type story struct {
	t              *testing.T
	rnd            *rand.Rand
	history        *historytest.History
	source, target *pgx.Conn
	admin          *pgx.Conn
	to             string // the target's URL
	name           string
	stages, wire   string
	env            map[string]string
	log            lockedBuffer
	cancel         context.CancelFunc
	ended          chan int
}

func runHistory(t *testing.T, a embedded.Addresses, seed uint64) {
	s := newStory(t, a, seed)
	s.steps(s.rnd.IntN(30)) // rows that the load finds
	s.start()
	if s.rnd.IntN(3) > 0 {
		s.await("something is applied", "SELECT EXISTS (SELECT FROM segue.progress WHERE NOT epoch = 0)")
	}
	for range 2 + s.rnd.IntN(4) {
		s.steps(5 + s.rnd.IntN(25))
		s.trouble()
	}
	s.steps(5)
	s.settle()
	s.compare()
	s.stop()
	s.finish()
}

func newStory(t *testing.T, a embedded.Addresses, seed uint64) *story {
	return newStoryBetween(t, a, seed, pgtest.Database(t), pgtest.Database(t))
}

// newStoryBetween is newStory with databases of the caller's.
func newStoryBetween(t *testing.T, a embedded.Addresses, seed uint64, from, to string) *story {
	s := &story{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), history: historytest.New(seed), name: fmt.Sprintf("h%d", seed), stages: "fused", wire: "avro"}
	if seed%2 == 1 {
		s.stages = "staged"
	}
	if seed/2%3 == 0 { // both forms of the wire in both ways to run
		s.wire = "json"
	}
	s.to = to
	s.source, s.target, s.admin = pgtest.Connect(t, from), pgtest.Connect(t, to), pgtest.Connect(t, to)
	pgtest.Exec(t, s.source, historytest.Schema)
	pgtest.Exec(t, s.target, historytest.Schema)
	if s.rnd.IntN(3) == 0 {
		for _, table := range historytest.Tables() {
			pgtest.Exec(t, s.source, "ALTER TABLE "+table+" REPLICA IDENTITY FULL")
		}
	}
	file := filepath.Join(t.TempDir(), "segue.yaml")
	text := fmt.Sprintf("migration: %s\nsource: {postgres: %q}\ntarget: {postgres: %q}\nkafka: {partitions: %d, wire: %s, compression: %s}\ntables:\n  - from: public.*\n",
		s.name, from, to, 1+s.rnd.IntN(3), s.wire, s.compression())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = map[string]string{
		"SEGUE_CONFIG": file, "SEGUE_KAFKA_BROKERS": a.Brokers[0], "SEGUE_LISTEN": "off", "SEGUE_STAGES": s.stages,
		"GOMEMLIMIT": "off", // the limit is the process's, and this one is many services
	}
	if s.wire == "avro" {
		s.env["SEGUE_REGISTRY_URL"] = a.Registry // json needs none
	}
	t.Cleanup(func() {
		s.stop()
		// The origin belongs to the whole cluster, which has room for few.
		// A backend whose connection was cut holds it until it notices.
		conn, err := pgx.Connect(context.Background(), s.to)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		err = pgtarget.DropOrigin(context.Background(), conn, s.name)
		for late := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(late); {
			time.Sleep(20 * time.Millisecond)
			err = pgtarget.DropOrigin(context.Background(), conn, s.name)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// compression is none for most: with the race detector, packing costs more than all the rest.
func (s *story) compression() string {
	if s.rnd.IntN(8) == 0 {
		return "lz4"
	}
	return "none"
}

func (s *story) process() *process {
	return &process{
		stdout: &s.log, stderr: &s.log, readFile: os.ReadFile, executable: os.Executable, version: "test",
		lookup: func(name string) (string, bool) { v, ok := s.env[name]; return v, ok },
	}
}

func (s *story) start(more ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.ended = cancel, make(chan int, 1)
	go func() { s.ended <- s.process().run(ctx, append([]string{"run", "all"}, more...)) }()
}

func (s *story) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.cancel = nil
	if code := <-s.ended; code != exitFine {
		s.fail("segue ended with exit code %d", code)
	}
}

func (s *story) steps(n int) {
	s.t.Helper()
	for range n {
		if err := s.history.Step(s.t.Context(), s.source); err != nil {
			s.t.Fatal(err)
		}
	}
}

// trouble cuts connections on either side, or stops everything and starts it again.
func (s *story) trouble() {
	const cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'segue%' AND datname = current_database()"
	switch s.rnd.IntN(4) {
	case 0:
		pgtest.Exec(s.t, s.source, cut)
	case 1:
		pgtest.Exec(s.t, s.admin, cut)
	case 2:
		s.stop()
		s.start()
	default:
	}
}

// settle waits until a last row is on the target and the load is over.
func (s *story) settle() {
	s.t.Helper()
	pgtest.Exec(s.t, s.source, "INSERT INTO public.parent VALUES (-1, 'the last', '')")
	s.await("the last row is on the target and the load is over",
		`SELECT EXISTS (SELECT FROM public.parent WHERE id = -1) AND EXISTS (SELECT FROM segue.progress WHERE loaded)`)
}

// patience is for machines where four of these run at once under the race detector.
const patience = 4 * time.Minute

// await asks the target until it says yes.
func (s *story) await(what, sql string) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		var yes bool
		if err := s.target.QueryRow(s.t.Context(), sql).Scan(&yes); err == nil && yes {
			return
		}
		select {
		case code := <-s.ended:
			s.ended <- code
			s.fail("segue ended by itself with exit code %d", code)
		default:
		}
		if time.Now().After(deadline) {
			s.fail("after %s not yet: %s", patience, what)
		}
	}
}

// compare holds each table on both servers against the model, and the target's foreign keys against what they were.
func (s *story) compare() {
	s.t.Helper()
	ctx := s.t.Context()
	for _, table := range historytest.Tables() {
		want := s.history.Rows(table)
		if table == "public.parent" {
			want = append(want, "-1|the last|")
			slices.Sort(want)
		}
		for _, store := range []struct {
			name string
			conn *pgx.Conn
		}{{"source", s.source}, {"target", s.target}} {
			got, err := historytest.Stored(ctx, store.conn, table)
			if err != nil {
				s.t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				s.fail("%s on the %s has %d rows, the model %d:\n%s", table, store.name, len(got), len(want), difference(got, want))
			}
		}
	}
	var keys int
	if err := s.target.QueryRow(ctx, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND connamespace = 'public'::regnamespace").Scan(&keys); err != nil || keys != 2 {
		s.fail("%d validated foreign keys on the target, want 2: %v", keys, err)
	}
	var refused string
	if err := s.target.QueryRow(ctx, `SELECT coalesce(string_agg(DISTINCT source_table || ' ' || reason, '; '), '') FROM segue.parked_log WHERE stage = 'applier'`).Scan(&refused); err != nil || refused != "" {
		s.fail("the target refused rows that are as on the source: %s, %v", refused, err)
	}
}

// finish gives the foreign keys back as they were, and leaves nothing on the target but the bookkeeping.
func (s *story) finish() {
	s.t.Helper()
	if code := s.process().run(s.t.Context(), []string{"target", "finish"}); code != exitFine {
		s.fail("target finish ended with exit code %d", code)
	}
	const left = `SELECT (SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND NOT condeferrable AND connamespace = 'public'::regnamespace),
		(SELECT count(*) FROM pg_replication_origin WHERE roname = $1)`
	var keys, origins int
	if err := s.admin.QueryRow(s.t.Context(), left, pgtarget.OriginName(s.name)).Scan(&keys, &origins); err != nil || keys != 2 || origins != 0 {
		s.fail("behind target finish: %d foreign keys as they were, want 2; %d origins, want none: %v", keys, origins, err)
	}
}

func difference(got, want []string) string {
	var out []string
	for _, r := range got {
		if _, ok := slices.BinarySearch(want, r); !ok {
			out = append(out, "  there, not expected: "+r[:min(len(r), 60)])
		}
	}
	for _, r := range want {
		if _, ok := slices.BinarySearch(got, r); !ok {
			out = append(out, "  expected, not there: "+r[:min(len(r), 60)])
		}
	}
	return strings.Join(out[:min(len(out), 20)], "\n")
}

func (s *story) fail(format string, args ...any) {
	s.t.Helper()
	log := s.log.String()
	s.t.Fatalf("seed %s (%s, %s): %s\nlog:\n%s", s.name, s.stages, s.wire, fmt.Sprintf(format, args...), log[max(0, len(log)-6000):])
}
