package main

import (
	"context"
	"errors"
	"log/slog"

	"segue/pkg/config"
	"segue/pkg/embedded"
	"segue/pkg/fault"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/wire"
)

// surroundings are the servers beside the two databases.
type surroundings struct {
	kafka    kafka.Config
	registry wire.RegistryConfig
	redis    string
	embedded *embedded.Services // those that this process runs itself, or nil
}

func (s *surroundings) close() error {
	if s.embedded == nil {
		return nil
	}
	return s.embedded.Close()
}

// given are the servers that the settings name.
func given(s *config.Settings) (*surroundings, error) {
	mechanism, err := kafka.SASL(s.Kafka.SASL.Mechanism, s.Kafka.SASL.User, s.Kafka.SASL.Password)
	if err != nil {
		return nil, usage(err)
	}
	return &surroundings{
		kafka:    kafka.Config{Brokers: s.Kafka.Brokers, TLS: s.Kafka.TLS, SASL: mechanism, ClientID: s.Kafka.ClientID},
		registry: wire.RegistryConfig{URL: s.Registry.URL, User: s.Registry.User, Password: s.Registry.Password},
		redis:    s.Redis,
	}, nil
}

// start gives the servers that the settings name, or starts embedded ones in this process.
func start(ctx context.Context, s *config.Settings, log *slog.Logger) (*surroundings, error) {
	if !s.Embedded() {
		return given(s)
	}
	e, err := embedded.Open(ctx, embedded.Config{Dir: s.DataDir, Sync: s.Sync, Log: log})
	if err != nil {
		return nil, err
	}
	return running(s, e.Addresses(), e), nil
}

// find gives the servers that the settings name, or those inside a running process with this data directory.
func find(s *config.Settings) (*surroundings, error) {
	if !s.Embedded() {
		return given(s)
	}
	a, err := embedded.Find(s.DataDir)
	if err != nil {
		return nil, err
	}
	return running(s, a, nil), nil
}

func running(s *config.Settings, a embedded.Addresses, e *embedded.Services) *surroundings {
	out := &surroundings{
		kafka:    kafka.Config{Brokers: a.Brokers, ClientID: s.Kafka.ClientID},
		registry: wire.RegistryConfig{URL: a.Registry},
		redis:    a.Redis, embedded: e,
	}
	if s.Redis != "" {
		out.redis = s.Redis
	}
	return out
}

// schemas are where a migration's schemas stand: in a registry, or with kafka.wire: json in its records.
func (s *surroundings) schemas(spec *migration.Spec) (wire.Registry, error) {
	if spec.Kafka.Wire == migration.WireJSON {
		return wire.Unregistered{}, nil
	}
	return wire.NewRegistry(s.registry)
}

// must refuses a command that needs brokers of its own settings.
func must(s *config.Settings, command string) error {
	if !s.Embedded() {
		return nil
	}
	return usage(fault.Fatal(errors.New("no Kafka brokers are set: "+command+" runs one service, which meets the others there"),
		"set SEGUE_KAFKA_BROKERS and SEGUE_REGISTRY_URL, or use: segue run all, which brings its own"))
}
