package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/embedded"
	"segue/pkg/postgres"
)

// stage is what the demo plays on: two private clusters, the embedded Kafka, registry and Redis, and a folder.
type stage struct {
	RunConfig
	logs           string // the services' logs and the shop's segue.yaml
	scratch        string // the clusters and topics: gone with the demo
	legacy, target *embedded.Postgres
	servers        *embedded.Services
	env            []string
	children       []*child
}

const (
	legacyDatabase = "shop"
	targetDatabase = "store"
)

func openStage(ctx context.Context, c RunConfig) (_ *stage, err error) {
	s := &stage{RunConfig: c, logs: filepath.Join(c.Dir, "demo")}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := os.RemoveAll(s.logs); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.logs, 0o750); err != nil {
		return nil, fmt.Errorf("make the demo's folder: %w", err)
	}
	if s.scratch, err = os.MkdirTemp("", "segue-demo-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.scratch, 0o755); err != nil { //nolint:gosec // the servers run as another user when root starts the demo
		return nil, err
	}
	if err := s.startServers(ctx); err != nil {
		return nil, err
	}
	return s, s.settings()
}

func (s *stage) startServers(ctx context.Context) error {
	cluster := func(name string, settings map[string]string) (*embedded.Postgres, error) {
		p, err := embedded.StartPostgres(ctx, embedded.PostgresConfig{Dir: filepath.Join(s.scratch, name), Settings: settings})
		if err != nil {
			return nil, fmt.Errorf("the %s PostgreSQL: %w", name, err)
		}
		return p, nil
	}
	var err error
	if s.legacy, err = cluster("legacy", map[string]string{"wal_level": "logical", "fsync": "off", "max_slot_wal_keep_size": "4GB"}); err != nil {
		return err
	}
	if s.target, err = cluster("target", map[string]string{"fsync": "off"}); err != nil {
		return err
	}
	for _, db := range []struct{ url, name string }{{s.legacy.URL("postgres"), legacyDatabase}, {s.target.URL("postgres"), targetDatabase}} {
		if err := createDatabase(ctx, db.url, db.name); err != nil {
			return err
		}
	}
	s.servers, err = embedded.Open(ctx, embedded.Config{Dir: filepath.Join(s.scratch, "topics"), Log: slog.New(slog.DiscardHandler)})
	return err
}

func createDatabase(ctx context.Context, url, name string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("create the database %s: %w", name, err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return postgres.Safe(err)
}

// settings writes the shop's segue.yaml and what every segue process of the demo gets to know.
func (s *stage) settings() error {
	file := filepath.Join(s.logs, "segue.yaml")
	if err := os.WriteFile(file, []byte(Config()), 0o600); err != nil {
		return err
	}
	a := s.servers.Addresses()
	s.env = []string{
		"LEGACY_URL=" + s.legacy.URL(legacyDatabase), "TARGET_URL=" + s.target.URL(targetDatabase),
		"SEGUE_CONFIG=" + file, "SEGUE_KAFKA_BROKERS=" + a.Brokers[0], "SEGUE_REGISTRY_URL=" + a.Registry, "SEGUE_REDIS_URL=" + a.Redis,
		"SEGUE_STAGES=fused", "SEGUE_LOG_FORMAT=text", "SEGUE_DATA_DIR=" + s.Dir,
	}
	return nil
}

// startServices starts the reader and, behind the raw topics, the fused stages; the reconciler is asked at the end.
func (s *stage) startServices(ctx context.Context) error {
	for _, name := range []string{"reader", "applier"} {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		c, err := startChild(ctx, s, name, "SEGUE_LISTEN=127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return fmt.Errorf("start the %s: %w", name, err)
		}
		s.children = append(s.children, c)
	}
	return nil
}

func freePort(ctx context.Context) (int, error) {
	var l net.ListenConfig
	socket, err := l.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := socket.Addr().(*net.TCPAddr).Port
	return port, socket.Close()
}

// close stops everything, downstream first, and removes what only the demo had.
func (s *stage) close() {
	for i := len(s.children) - 1; i >= 0; i-- {
		s.children[i].stop(10 * time.Second)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	if s.servers != nil {
		errs = append(errs, s.servers.Close())
	}
	for _, p := range []*embedded.Postgres{s.legacy, s.target} {
		if p != nil {
			errs = append(errs, p.Stop(ctx))
		}
	}
	if s.scratch != "" {
		errs = append(errs, os.RemoveAll(s.scratch))
	}
	if err := errors.Join(errs...); err != nil {
		s.say("tidying up: %v", err)
	}
}
