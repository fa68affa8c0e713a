package stacktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"segue/pkg/embedded"
	"segue/pkg/kafkatest"
	"segue/pkg/pgtest"
)

// Servers are what the services run against. They are started once per test process, each when it is first asked for.
type Servers struct {
	folder   *folder
	legacy   once[*embedded.Postgres]
	target   once[*embedded.Postgres]
	kafka    once[[]string]
	registry once[*embedded.Registry]
	redis    once[string]
}

// shared is package state because a process is what it belongs to: starting all this takes about ten seconds.
var shared once[*Servers] //nolint:gochecknoglobals // as said

const serverStart = 3 * time.Minute

// Shared returns the servers of this test process.
func Shared(tb testing.TB) *Servers {
	tb.Helper()
	s, err := shared.get(func() (*Servers, error) {
		f, err := openFolder()
		return &Servers{folder: f}, err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// need fails the test where something is missing that it cannot do without: always in CI, else it skips, loudly.
func need(tb testing.TB, what string, err error) {
	tb.Helper()
	if err == nil {
		return
	}
	missing := errors.Is(err, exec.ErrNotFound) || errors.Is(err, embedded.ErrNoPostgres)
	if missing && os.Getenv("CI") != "true" {
		tb.Skipf("NOT TESTED on real parts: %s: %v", what, err)
	}
	tb.Fatalf("the real layer needs %s: %v", what, err)
}

// postgresSettings are those of a server that is thrown away: nothing waits for a disk, on either side.
func postgresSettings() map[string]string {
	return map[string]string{
		"wal_level": "logical", "max_wal_senders": "20", "max_replication_slots": "20", "max_connections": "120",
		"fsync": "off", "full_page_writes": "off", "shared_buffers": "256MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
		"max_logical_replication_workers": "8", "max_sync_workers_per_subscription": "2", "log_min_messages": "error", "wal_retrieve_retry_interval": "100ms",
	}
}

func (s *Servers) postgres(tb testing.TB, o *once[*embedded.Postgres], name string) *embedded.Postgres {
	tb.Helper()
	p, err := o.get(func() (*embedded.Postgres, error) {
		bin, err := pgtest.Binaries(tb.Context())
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), serverStart)
		defer cancel()
		return embedded.StartPostgres(ctx, embedded.PostgresConfig{Dir: s.folder.join(name), Bin: bin, Settings: postgresSettings()})
	})
	need(tb, "PostgreSQL's server binaries (Debian: apt-get install postgresql)", err)
	pgtest.Tell(tb, p.URL("postgres"))
	return p
}

// Kafka returns the brokers: those that SEGUE_TEST_KAFKA names, else Apache Kafka in a process of its own.
func (s *Servers) Kafka(tb testing.TB) []string {
	tb.Helper()
	brokers, err := s.kafka.get(func() ([]string, error) {
		if named := os.Getenv("SEGUE_TEST_KAFKA"); named != "" {
			return strings.Split(named, ","), nil
		}
		for _, tool := range []string{"java", "mvn"} {
			if _, err := exec.LookPath(tool); err != nil {
				return nil, err
			}
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), serverStart)
		defer cancel()
		k, err := kafkatest.Start(ctx, kafkatest.Config{Dir: s.folder.join("kafka")})
		if err != nil {
			return nil, err
		}
		s.folder.holds(k.PID())
		return k.Brokers(), nil
	})
	need(tb, "Apache Kafka (Java 17 and Maven; Debian: apt-get install openjdk-17-jre-headless maven; or set SEGUE_TEST_KAFKA to brokers)", err)
	return brokers
}

// Registry returns the URL of a schema registry inside this process.
func (s *Servers) Registry(tb testing.TB) string {
	tb.Helper()
	r, err := s.registry.get(func() (*embedded.Registry, error) {
		dir := s.folder.join("registry")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		return embedded.StartRegistry(context.WithoutCancel(tb.Context()), dir)
	})
	need(tb, "a schema registry", err)
	return r.URL
}

// Redis returns the URL of a Redis in a process of its own.
func (s *Servers) Redis(tb testing.TB) string {
	tb.Helper()
	url, err := s.redis.get(func() (string, error) {
		if _, err := exec.LookPath("redis-server"); err != nil {
			return "", err
		}
		port, err := freePort()
		if err != nil {
			return "", err
		}
		p, err := s.start(process{
			name: "redis", path: "redis-server", log: s.folder.join("redis.log"),
			args: []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.folder.path},
		})
		if err != nil {
			return "", err
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		return "redis://" + address + "/0", p.listening(address, serverStart)
	})
	need(tb, "Redis (Debian: apt-get install redis-server)", err)
	return url
}
