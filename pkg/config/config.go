// Package config holds the settings: how a process of segue runs. They come from flags and SEGUE_* variables; what is
// migrated stands in segue.yaml (package migration), and the two never mix. There is one table of settings (All), which
// the flags, the loader and the README's table are made from. Load reports every mistake at once, each with the
// variable that it is in and what to set. It is frame: it reads no environment by itself.
package config

import (
	"crypto/tls"
	"log/slog"
	"strings"
)

// Settings is how one process runs.
type Settings struct {
	Migration string // path of segue.yaml
	DataDir   string
	Stages    string // Fused, Staged, or empty: as the command has it
	Instance  string // which of a service's processes this is, over all its lives; empty: host name and port
	Listen    string // address of /livez, /readyz and /metrics; empty: none
	Log       Log
	Kafka     Kafka
	Registry  Registry
	Redis     string // URL
	Sync      bool   // the embedded broker forces every batch to the disk
}

// The two ways to run the stages: in one process, handing batches over in memory, or with topics in between.
const (
	Fused  = "fused"
	Staged = "staged"
)

// Log is how a process talks.
type Log struct {
	Level  slog.Level
	Format string // text or json
}

// Kafka is where the brokers are and how to reach them.
type Kafka struct {
	Brokers  []string
	TLS      *tls.Config // nil: plain
	SASL     SASL
	ClientID string
}

// SASL is how a client names itself to the brokers; an empty mechanism: not at all.
type SASL struct{ Mechanism, User, Password string }

// Registry is where the schema registry is.
type Registry struct{ URL, User, Password string }

// Embedded says that no brokers are set, so that the process brings its own.
func (s *Settings) Embedded() bool { return len(s.Kafka.Brokers) == 0 }

// Problem is one mistake in the settings.
type Problem struct {
	Variable string // the variable, or the flag where the value came from there
	Text     string // what is wrong and what to set
}

// Problems is every mistake at once. It is an error.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.Variable + ": " + x.Text
	}
	return strings.Join(lines, "\n")
}
