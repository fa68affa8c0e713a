package applier

import (
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
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// site is a target with an applier that runs a course, opened again for transient reasons as a process's group does it.
type site struct {
	*course
	t     *testing.T
	admin string // a superuser's URL
	cfg   Config
	deps  Deps
	logs  *logs
	rig   *rig // for its metrics
	stop  func() error
	ended chan error // once it ended for good

	mu    sync.Mutex
	waits []string
}

const patience = 20 * time.Second

// newSite makes the tables in the database that admin leads to; segue connects by url.
func newSite(t *testing.T, admin, url string) *site {
	t.Helper()
	s := &site{course: newCourse(1), t: t, admin: admin, logs: &logs{wake: make(chan struct{}, 1)}}
	conn := pgtest.Connect(t, admin)
	pgtest.Exec(t, conn, courseDDL)
	reg := prometheus.NewRegistry()
	s.rig = &rig{t: t, reg: reg}
	s.cfg = Config{Retry: time.Millisecond, Target: pgtarget.Config{URL: url, App: "segue test", Migration: "m", Owner: "test",
		Mode: pgtarget.Fused, Fingerprint: "f", Targets: courseTargets(t, conn), Asker: noAsker{}, NoOrigin: true}}
	s.deps = Deps{Log: slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: NewMetrics(reg), Waiting: s.waiting}
	_ = conn.Close(t.Context())
	return s
}

func courseTargets(t *testing.T, conn *pgx.Conn) []*change.Target {
	t.Helper()
	shapes, err := postgres.TargetTables(t.Context(), conn, []table.Name{{Schema: "public", Table: "p"}, {Schema: "public", Table: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	var out []*change.Target
	for _, shape := range shapes {
		out = append(out, &change.Target{Table: shape, Columns: []int{0, 1, 2, 3}, Key: []int{0}, SoleFeeder: true})
	}
	return out
}

// owned gives a role everything that a migration wants, and returns its URL.
func owned(t *testing.T, admin, role, password string) string {
	t.Helper()
	conn := pgtest.Connect(t, admin)
	var name string
	if err := conn.QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, conn, "CREATE ROLE "+role+" LOGIN PASSWORD '"+password+"'", "ALTER DATABASE "+name+" OWNER TO "+role, "ALTER SCHEMA public OWNER TO "+role)
	_ = conn.Close(t.Context())
	return strings.Replace(admin, "postgres@", role+":"+password+"@", 1)
}

func (s *site) waiting(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why != "" {
		s.waits = append(s.waits, why)
	}
}

// start opens and runs the applier until it ends for good or is stopped.
func (s *site) start() {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	s.ended = done
	go func() {
		for {
			a, err := Open(ctx, s.cfg, s.deps)
			if err == nil {
				err = a.Run(ctx, s.open(s.t, a.Cursor()))
			}
			if ctx.Err() != nil || fault.ClassOf(err) != fault.ClassTransient {
				done <- err
				return
			}
		}
	}()
	s.stop = sync.OnceValue(func() error {
		cancel()
		err := <-done
		done <- err
		return err
	})
	s.t.Cleanup(func() { _ = s.stop() })
}

// ends waits until the applier ends by itself.
func (s *site) ends() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-time.After(patience):
		s.t.Fatalf("it goes on\n%s", s.logs.tail())
		return nil
	}
}

// sql runs a statement on the target as a superuser, in a session of its own.
func (s *site) sql(statements ...string) {
	s.t.Helper()
	conn := pgtest.Connect(s.t, s.admin)
	pgtest.Exec(s.t, conn, statements...)
	_ = conn.Close(s.t.Context())
}

// until asks the target, over whatever happens to it, until the answer is yes.
func (s *site) until(what, sql string, args ...any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for yes := false; !yes; {
		var err error
		if conn == nil || conn.IsClosed() {
			conn, err = pgx.Connect(ctx, s.admin)
		}
		if err == nil {
			err = conn.QueryRow(ctx, sql, args...).Scan(&yes)
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("not yet: %s (%v)\n%s", what, err, s.logs.tail())
		case err := <-s.ended:
			s.ended <- err
			s.t.Fatalf("the applier ended, not yet: %s: %v\n%s", what, err, s.logs.tail())
		case <-tick.C:
		}
	}
}

func (l *logs) tail() string {
	text := l.String()
	return text[max(0, len(text)-5000):]
}

// caughtUp waits until all of the course is applied, with the load's end.
func (s *site) caughtUp() {
	s.t.Helper()
	at, _ := s.end()
	s.until("all is applied", `SELECT EXISTS (SELECT FROM segue.progress WHERE lsn = $1::pg_lsn AND seq = $2 AND loaded)`, fmt.Sprintf("0/%X", at.LSN), int64(at.Seq))
}

// kill ends segue's backend.
func (s *site) kill() {
	s.t.Helper()
	s.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'segue test'")
}

// exact stops the applier and holds the target against the model: the rows, the counters, and that no row ever went back.
func (s *site) exact() {
	s.t.Helper()
	s.caughtUp()
	// Where the answer to the last commit is lost while it is being stopped, there is no new attempt.
	if err := s.stop(); !errors.Is(err, context.Canceled) && fault.ClassOf(err) != fault.ClassTransient {
		s.t.Fatalf("the applier ended with %v\n%s", err, s.logs.tail())
	}
	conn := pgtest.Connect(s.t, s.admin)
	get := func(sql string) (got string) {
		s.t.Helper()
		if err := conn.QueryRow(s.t.Context(), sql).Scan(&got); err != nil {
			s.t.Fatal(err)
		}
		return got
	}
	_, total := s.end()
	for _, c := range []struct{ what, sql, want string }{
		{"p", "SELECT coalesce(string_agg(concat_ws(',', id, name, note, v), ' ' ORDER BY id), '') FROM p", s.dump(0)},
		{"c", "SELECT coalesce(string_agg(concat_ws(',', id, p, note, v), ' ' ORDER BY id), '') FROM c", s.dump(1)},
		{"changes, row operations, filtered, parked", "SELECT concat_ws(' ', changes, row_ops, filtered, parked) FROM segue.progress", fmt.Sprintf("%d %d 0 0", total, total)},
		{"rows that went back or came twice", `
			SELECT count(*)::text FROM (SELECT v - lag(v) OVER w AS step, tx - lag(tx) OVER w AS other FROM seen WINDOW w AS (PARTITION BY tab, id ORDER BY place)) x
			WHERE step < 0 OR (step = 0 AND other <> 0)`, "0"},
		{"pending", "SELECT count(*)::text FROM segue.pending", "0"},
		{"foreign keys", "SELECT count(*)::text FROM pg_constraint WHERE contype = 'f' AND convalidated AND connamespace = 'public'::regnamespace", "1"},
		{"isolation", "SELECT string_agg(DISTINCT isolation, ' ') FROM seen", "read committed"},
	} {
		if got := get(c.sql); got != c.want {
			s.t.Fatalf("%s:\n got %s\nwant %s\n%s", c.what, got, c.want, s.logs.tail())
		}
	}
	_ = conn.Close(s.t.Context())
}

// shown says that a reason was seen by everybody who looks: in the log, in the state and in the metric.
func (s *site) shown(reason string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(s.logs.String(), "waiting for the target") || s.rig.metric("retries_total") == 0 || !strings.Contains(strings.Join(s.waits, "\n"), reason) {
		s.t.Errorf("%s was not shown: %v\n%s", reason, s.waits, s.logs.tail())
	}
}

// contextOf is for what is done behind the end of a test.
func contextOf(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }

// again waits until something more is written, or for a moment.
func (l *logs) again(t *testing.T) {
	select {
	case <-l.wake:
	case <-time.After(5 * time.Millisecond):
	case <-t.Context().Done():
	}
}
