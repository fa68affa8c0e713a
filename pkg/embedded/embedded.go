// Package embedded is the default surroundings: a Kafka broker with a data directory (kfake), a schema registry (srfake, made durable),
// a Redis (miniredis) and private PostgreSQL clusters, so that segue runs, and is tested, with nothing installed but PostgreSQL's
// server binaries. What the broker acknowledged and the registry gave out survives kill -9 (promise P3); a power cut too
// where Sync is set. Redis forgets at every stop, because nothing that counts is kept there (P5). After a kill the
// broker reads what is not yet trimmed once through memory, a partition at a time.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// Config says where the embedded services keep their data.
type Config struct {
	Dir  string
	Sync bool // force every batch to the disk before it is acknowledged
	Log  *slog.Logger
}

// Services is a running set of them. It holds the directory's lock.
type Services struct {
	Kafka    *Kafka
	Registry *Registry
	Redis    *Redis
	lock     *lock
	dir      string
}

// Open starts a broker, a registry and a Redis on the directory, which no other process may use meanwhile.
func Open(ctx context.Context, c Config) (_ *Services, err error) {
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	s := &Services{dir: c.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.lock, err = acquire(filepath.Join(c.Dir, "lock")); err != nil {
		return nil, err
	}
	ports, err := readPorts(c.Dir)
	if err != nil {
		return nil, err
	}
	if s.Kafka, err = startKafka(ctx, c, ports.Kafka); err != nil {
		return nil, err
	}
	if s.Registry, err = startRegistry(ctx, c.Dir, ports.Registry); err != nil {
		return nil, err
	}
	if s.Redis, err = startRedis(ports.Redis); err != nil {
		return nil, err
	}
	return s, writePorts(c.Dir, s.Addresses())
}

// Addresses is where the services listen.
func (s *Services) Addresses() Addresses {
	return Addresses{PID: os.Getpid(), Brokers: []string{s.Kafka.Address}, Registry: s.Registry.URL, Redis: s.Redis.URL}
}

// Close stops them, writes down what a quick start wants, and gives the directory free.
func (s *Services) Close() error {
	var errs []error
	if s.Redis != nil {
		s.Redis.Close()
	}
	if s.Registry != nil {
		errs = append(errs, s.Registry.Close())
	}
	if s.Kafka != nil {
		s.Kafka.Close()
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}
