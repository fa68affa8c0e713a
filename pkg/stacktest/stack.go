package stacktest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Form is how segue runs.
type Form string

// The forms.
const (
	Staged   Form = "staged"   // five processes, topics in between
	Fused    Form = "fused"    // three: reader, applier with the stages in memory, reconciler
	Embedded Form = "embedded" // one: run all, with its own Kafka, registry and Redis
)

// Services are a form's processes, in the order of the flow.
func (f Form) Services() []string {
	switch f {
	case Staged:
		return []string{"reader", "transformer", "deduplicator", "applier", "reconciler"}
	case Fused:
		return []string{"reader", "applier", "reconciler"}
	case Embedded:
	}
	return []string{"all"}
}

// Config says what a stack moves, and how.
type Config struct {
	Form Form
	// Spec is segue.yaml without migration, source and target, which are the stack's: it begins with tables or kafka.
	Spec string
	// LogLevel is SEGUE_LOG_LEVEL; empty: info.
	LogLevel string
	// Brokers and Registry are used instead of the process's shared ones, where they are set.
	Brokers  []string
	Registry string
	// Through, where set, is the way of segue's own connections to a database: a proxy's URL for the database's.
	Through func(url string) string
}

// Stack is one migration: two databases of its own, and the services between them.
type Stack struct {
	Legacy, Target string // URLs, as superuser
	Migration      string
	servers        *Servers
	cfg            Config
	binary, dir    string
	env            []string
	mu             sync.Mutex
	services       map[string]*service
}

// Open makes the databases and writes segue.yaml. It starts no service: the test fills the databases first. At the test's end everything
// is stopped and dropped; the ends of the logs are shown where the test failed.
func Open(tb testing.TB, cfg Config) *Stack {
	tb.Helper()
	servers := Shared(tb)
	id := strings.ToLower(rand.Text()[:8])
	s := &Stack{servers: servers, cfg: cfg, Migration: "real-" + id, binary: Binary(tb), dir: servers.folder.join(id), services: map[string]*service{}}
	s.Legacy = s.database(tb, servers.postgres(tb, &servers.legacy, "legacy").URL("postgres"), "legacy_"+id)
	s.Target = s.database(tb, servers.postgres(tb, &servers.target, "target").URL("postgres"), "target_"+id)
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	spec := fmt.Sprintf("migration: %s\nsource: {postgres: \"${LEGACY_URL}\"}\ntarget: {postgres: \"${TARGET_URL}\"}\n%s", s.Migration, cfg.Spec)
	if err := os.WriteFile(s.dir+"/segue.yaml", []byte(spec), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.env = s.environment(tb)
	tb.Cleanup(func() { s.close(tb) })
	return s
}

func (s *Stack) environment(tb testing.TB) []string {
	through := s.cfg.Through
	if through == nil {
		through = func(url string) string { return url }
	}
	env := []string{"LEGACY_URL=" + through(s.Legacy), "TARGET_URL=" + through(s.Target), "SEGUE_CONFIG=" + s.dir + "/segue.yaml", "SEGUE_DATA_DIR=" + s.dir + "/data"}
	if s.cfg.LogLevel != "" {
		env = append(env, "SEGUE_LOG_LEVEL="+s.cfg.LogLevel)
	}
	if s.cfg.Form == Embedded {
		return env
	}
	brokers, registry := s.cfg.Brokers, s.cfg.Registry
	if brokers == nil {
		brokers = s.servers.Kafka(tb)
	}
	if registry == "" {
		registry = s.servers.Registry(tb)
	}
	return append(env, "SEGUE_STAGES="+string(s.cfg.Form), "SEGUE_KAFKA_BROKERS="+strings.Join(brokers, ","),
		"SEGUE_REGISTRY_URL="+registry, "SEGUE_REDIS_URL="+s.servers.Redis(tb))
}

// database makes an empty one and drops it, and what hangs on it, at the end.
func (s *Stack) database(tb testing.TB, admin, name string) string {
	tb.Helper()
	if err := execute(tb.Context(), admin, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := execute(ctx, admin,
			"SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE active AND database = '"+name+"'",
			"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '"+name+"'",
			"DROP DATABASE "+name+" WITH (FORCE)")
		if err != nil {
			tb.Errorf("drop %s: %v", name, err)
		}
	})
	return strings.Replace(admin, "/postgres?", "/"+name+"?", 1)
}

// execute runs statements on a connection of their own.
func execute(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// Connect opens a connection that is closed at the end of the test.
func Connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (s *Stack) close(tb testing.TB) {
	for _, svc := range s.all() {
		if err := svc.kill(); err != nil {
			tb.Error(err)
		}
	}
	for _, svc := range s.all() {
		log, err := s.Log(svc.name)
		if err != nil {
			tb.Error(err)
		}
		for _, sign := range []string{"WARNING: DATA RACE", "panic:"} {
			if at := strings.Index(log, sign); at >= 0 {
				tb.Errorf("%s: %.4000s", svc.name, log[at:])
			}
		}
	}
	if !tb.Failed() {
		return
	}
	for _, svc := range s.all() {
		tb.Logf("the end of the log of %s:\n%s", svc.name, tail(svc.log, 60))
	}
}
