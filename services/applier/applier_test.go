package applier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/table"
)

type noAsker struct{}

func (noAsker) Ask(context.Context, []request.Request) error { return nil }

// script is a source that yields what it is given, and then blocks until ctx ends.
type script struct {
	events chan frontier.Event[change.Mapped]
}

func (s *script) Next(ctx context.Context) (frontier.Event[change.Mapped], error) {
	select {
	case e := <-s.events:
		return e, nil
	case <-ctx.Done():
		return frontier.Event[change.Mapped]{}, ctx.Err()
	}
}

func (s *script) Ready() bool { return len(s.events) > 0 }

// logs is where the applier writes to, for a test to wait for and to look through.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
	wake chan struct{}
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) wait(t *testing.T, what string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(l.String(), what) {
		select {
		case <-l.wake:
		case <-deadline:
			t.Fatalf("%q never came:\n%s", what, l)
		}
	}
}

type rig struct {
	t      *testing.T
	conn   *pgx.Conn
	cfg    Config
	deps   Deps
	logs   *logs
	reg    *prometheus.Registry
	source *script
	offset int64
	lsn    uint64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, pgtest.Database(t))
}

func newRigOn(t *testing.T, url string) *rig {
	t.Helper()
	r := &rig{t: t, conn: pgtest.Connect(t, url), logs: &logs{wake: make(chan struct{}, 1)}, reg: prometheus.NewRegistry(),
		source: &script{events: make(chan frontier.Event[change.Mapped], 1000)}, lsn: 1}
	pgtest.Exec(t, r.conn, `CREATE TABLE p (id int PRIMARY KEY, name text); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE)`)
	shapes, err := postgres.TargetTables(t.Context(), r.conn, []table.Name{{Schema: "public", Table: "p"}, {Schema: "public", Table: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	var targets []*change.Target
	for _, s := range shapes {
		targets = append(targets, &change.Target{Table: s, Columns: []int{0, 1}, Key: []int{0}, SoleFeeder: true})
	}
	r.cfg = Config{Retry: 5 * time.Millisecond, Target: pgtarget.Config{URL: url, App: "segue test", Migration: "m", Owner: "test",
		Mode: pgtarget.Fused, Fingerprint: "f", Targets: targets, Asker: noAsker{}}}
	r.deps = Deps{Log: slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: NewMetrics(r.reg)}
	return r
}

func insert(target int, values ...string) change.Mapped {
	row := change.Row{change.String(values[0]), change.String(values[1])}
	return change.Mapped{SourceOp: change.Insert, Source: table.Name{Schema: "legacy", Table: "t"}, SourceKey: row[:1],
		Ops: []change.RowOp{{Target: target, Op: change.Insert, Row: row}}}
}

// batch sends one frontier.
func (r *rig) batch(boundary bool, set func(*frontier.Frontier), changes ...change.Mapped) change.Position {
	r.offset++
	for i := range changes {
		changes[i].Pos = change.Position{LSN: r.lsn, Seq: uint64(i) + 1}
	}
	at := change.Position{LSN: r.lsn, Seq: uint64(1000 * r.offset)}
	if boundary {
		r.lsn += 8
	}
	f := &frontier.Frontier{At: at, Boundary: boundary, Committed: time.Now().UnixMicro()}
	if set != nil {
		set(f)
	}
	r.source.events <- frontier.Event[change.Mapped]{Batch: &frontier.Batch[change.Mapped]{Offset: r.offset, Frontier: f, Changes: changes}}
	return at
}

// start opens the applier and runs it; stop ends it and returns its error.
func (r *rig) start() (a *Applier, stop func() error) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	a, err := Open(ctx, r.cfg, r.deps)
	if err != nil {
		cancel()
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, r.source) }()
	return a, func() error {
		cancel()
		return <-done
	}
}

// reach waits until the target stands at a position.
func (r *rig) reach(at change.Position) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for {
		p, err := pgtarget.ReadProgress(ctx, r.conn, "m")
		if err != nil {
			r.t.Fatalf("%v\n%s", err, r.logs)
		}
		if !p.At.Before(at) {
			return
		}
	}
}

func (r *rig) want(sql, want string) {
	r.t.Helper()
	var got string
	if err := r.conn.QueryRow(r.t.Context(), sql).Scan(&got); err != nil || got != want {
		r.t.Fatalf("%s: got %s, want %s (%v)\n%s", sql, got, want, err, r.logs)
	}
}

func (r *rig) metric(name string) float64 {
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "segue_applier_"+name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

func TestBacklogBecomesFewTransactionsAndMarksEndOne(t *testing.T) {
	r := newRig(t)
	var mark change.Position
	for i := range 200 {
		at := r.batch(true, func(f *frontier.Frontier) {
			if i == 99 {
				f.Marks = []frontier.Mark{{ID: "look", Kind: markSnapshot, At: f.At}}
			}
		}, insert(0, fmt.Sprint(i), "name"))
		if i == 99 {
			mark = at
		}
	}
	last := r.batch(true, nil)
	a, stop := r.start()
	r.reach(last)
	r.logs.wait(t, "snapshot exported")
	s, err := pgtarget.ReadSnapshot(t.Context(), r.conn, "m", "look")
	if err != nil || s == nil || s.At != mark {
		t.Fatal(s, err)
	}
	tx, err := r.conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SET TRANSACTION SNAPSHOT '"+s.ID+"'"); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*)::text FROM p", "100")
	_ = tx.Rollback(t.Context())
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r.want("SELECT count(*) || ' ' || (SELECT changes FROM segue.progress) FROM p", "200 200")
	if p := a.Progress(); p.At != last || p.Changes != 200 {
		t.Fatal(p)
	}
	if n := r.metric("transactions_total"); n > 60 || r.metric("changes_total") != 200 || r.metric("applied_lsn") != float64(last.LSN) {
		t.Fatal(n, r.metric("changes_total"))
	}
}

func TestEndOfTheLoadEnforcesForeignKeys(t *testing.T) {
	r := newRig(t)
	_, stop := r.start()
	r.batch(true, nil, insert(1, "1", "5")) // its parent comes later
	r.reach(r.batch(true, nil))
	r.want("SELECT count(*)::text FROM pg_constraint WHERE contype = 'f'", "0")
	r.batch(true, func(f *frontier.Frontier) { f.Loaded = true }, insert(0, "5", "name"))
	r.reach(r.batch(true, func(f *frontier.Frontier) { f.Loaded = true }, insert(0, "6", "name")))
	r.want("SELECT loaded::text FROM segue.progress", "true")
	r.want("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'", "FOREIGN KEY (p) REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED")
	_ = stop()
	_, stop = r.start() // they stay
	r.want("SELECT count(*)::text FROM pg_constraint WHERE contype = 'f'", "1")
	_ = stop()
}

func TestForkedHistoryLoadsAgainWithoutForeignKeys(t *testing.T) {
	r := newRig(t)
	_, stop := r.start()
	loaded := func(f *frontier.Frontier) { f.Loaded = true }
	r.batch(true, loaded, insert(0, "5", "name"))
	r.reach(r.batch(true, loaded, insert(1, "1", "5")))
	r.want("SELECT count(*)::text FROM pg_constraint WHERE contype = 'f'", "1")
	next := func(loaded bool) func(f *frontier.Frontier) {
		return func(f *frontier.Frontier) { f.At.Epoch, f.Loaded = 2, loaded }
	}
	at := func(p change.Position) change.Position { p.Epoch = 2; return p }
	r.reach(at(r.batch(true, next(false), insert(1, "2", "6")))) // its parent comes later
	r.want("SELECT count(*)::text FROM pg_constraint WHERE contype = 'f'", "0")
	r.batch(true, next(true), insert(0, "6", "name"))
	r.reach(at(r.batch(true, next(true), insert(0, "7", "name"))))
	r.want("SELECT (SELECT count(*) FROM pg_constraint WHERE contype = 'f') || ' ' || loaded FROM segue.progress", "1 true")
	_ = stop()
}

func TestClaimTakesBackTheOpenTransaction(t *testing.T) {
	r := newRig(t)
	_, stop := r.start()
	before := r.batch(true, nil, insert(0, "1", "a"))
	r.batch(false, nil, insert(0, "2", "void"))
	r.batch(false, nil, insert(0, "3", "void"))
	r.offset++
	r.source.events <- frontier.Event[change.Mapped]{Claim: &frontier.Record{Offset: r.offset, Claim: &frontier.Claim{Stage: "reader"}}}
	r.logs.wait(t, "writer changed")
	r.reach(before)
	r.batch(false, nil, insert(0, "2", "again"))
	r.reach(r.batch(true, nil, insert(0, "4", "b")))
	_ = stop()
	r.want("SELECT string_agg(id || name, ' ' ORDER BY id) FROM p", "1a 2again 4b")
}

func TestKilledBackendsAreSurvivedVisibly(t *testing.T) {
	r := newRig(t)
	_, stop := r.start()
	for i := range 30 {
		at := r.batch(true, nil, insert(0, fmt.Sprint(i), "name"))
		if i%3 == 0 {
			if _, err := r.conn.Exec(t.Context(), "SELECT pg_terminate_backend(backend_pid) FROM segue.progress"); err != nil {
				t.Fatal(err)
			}
		}
		if i%5 == 0 {
			r.reach(at)
		}
	}
	r.reach(r.batch(true, nil))
	_ = stop()
	r.want("SELECT count(*) || ' ' || (SELECT changes FROM segue.progress) FROM p", "30 30")
	if r.metric("retries_total") == 0 || !strings.Contains(r.logs.String(), "waiting for the target") {
		t.Fatal("nobody saw it")
	}
}

func TestLostOpenTransactionEndsTheRunAndTheNextGoesOn(t *testing.T) {
	r := newRig(t)
	a, err := Open(t.Context(), r.cfg, r.deps)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(t.Context(), r.source) }()
	first := r.batch(true, nil, insert(0, "1", "a"))
	r.reach(first)
	r.batch(false, nil, insert(0, "2", "b"))
	r.wait("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' AND backend_xid IS NOT NULL", 1)
	if _, err := r.conn.Exec(t.Context(), "SELECT pg_terminate_backend(backend_pid) FROM segue.progress"); err != nil {
		t.Fatal(err)
	}
	r.batch(true, nil, insert(0, "3", "c"))
	if err := <-done; fault.ClassOf(err) != fault.ClassTransient || !errors.Is(err, pgtarget.ErrRewind) {
		t.Fatal(err)
	}
	r.lsn, r.offset = first.LSN+8, 1 // the source is opened again at the cursor
	a, stop := r.start()
	if a.Cursor().At != first {
		t.Fatal(a.Cursor())
	}
	r.batch(false, nil, insert(0, "2", "b"))
	r.reach(r.batch(true, nil, insert(0, "3", "c")))
	_ = stop()
	r.want("SELECT string_agg(id || name, ' ' ORDER BY id) FROM p", "1a 2b 3c")
}

// wait asks the server until the answer is n.
func (r *rig) wait(sql string, n int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for got := n - 1; got != n; {
		if err := r.conn.QueryRow(ctx, sql).Scan(&got); err != nil {
			r.t.Fatalf("%v\n%s", err, r.logs)
		}
	}
}

func TestReadOnlyTargetIsWaitedFor(t *testing.T) {
	r := newRig(t)
	var name string
	if err := r.conn.QueryRow(t.Context(), "SELECT quote_ident(current_database())").Scan(&name); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	opened := make(chan *Applier)
	go func() {
		a, err := Open(t.Context(), r.cfg, r.deps)
		if err != nil {
			t.Error(err)
		}
		opened <- a
	}()
	r.logs.wait(t, "read_only_sql_transaction")
	pgtest.Exec(t, r.conn, "ALTER DATABASE "+name+" SET default_transaction_read_only = off")
	if a := <-opened; a != nil {
		a.Close()
	}
}

func TestARefusedRowIsParkedAndToldWithoutItsValues(t *testing.T) {
	r := newRig(t)
	_, stop := r.start()
	r.batch(true, nil, insert(0, "1", "sEcReT"))
	r.batch(true, nil, insert(1, "2", "sEcReT")) // no number
	r.reach(r.batch(true, nil, insert(0, "3", "sEcReT")))
	r.logs.wait(t, "rows set aside")
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r.want("SELECT string_agg(id::text, ' ' ORDER BY id) || ' ' || (SELECT code FROM segue.parked) FROM p", "1 3 22P02")
	if r.metric("parked_rows") != 1 || r.metric("parked_changes_total") != 1 {
		t.Fatal(r.metric("parked_rows"), r.metric("parked_changes_total"))
	}
	if strings.Contains(r.logs.String(), "sEcReT") {
		t.Fatal(r.logs)
	}
}
