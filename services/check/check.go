// Package check looks at everything that a migration needs before it runs: both databases, their privileges and settings,
// each table's identity, the mapping, Kafka, the registry and Redis. Each finding names its object and the exact SQL
// or line that mends it. It changes nothing anywhere, and it reads no rows (P10).
package check

import (
	"context"
	"errors"

	"segue/pkg/fault"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/table"
	"segue/pkg/wire"
)

// Severity says what a finding means for a start.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // the migration does not start, or would stop later
	Warning Severity = "warning" // it runs, but people should know
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	Object   string   `json:"object"` // what it is about: "source", "source public.orders", "segue.yaml:12:5", "topic shop.requests"
	Text     string   `json:"text"`
	Mend     string   `json:"mend,omitempty"` // the SQL, the command or the line that mends it
	// Passing says that the cause may be gone at the next look: a connection that was lost, a server that starts.
	Passing bool `json:"passing,omitempty"`
}

// Config says what to look at. A nil Kafka means that the embedded services are used.
type Config struct {
	Spec     *migration.Spec
	Kafka    *kafka.Config
	Registry wire.RegistryConfig
	Redis    string // URL; empty: none
	// Topics are the topics that the migration has for these source tables, on so many brokers.
	Topics func(tables []*table.Table, brokers int) []kafka.Topic
}

// Run looks at everything and returns what it found, in the order in which one mends it.
func Run(ctx context.Context, c Config) []Finding {
	r := &report{}
	source := r.source(ctx, c.Spec)
	target := r.target(ctx, c.Spec, source)
	r.encodings(source.encoding, target.encoding)
	r.equalities(source.selected, source.blurred, target.blurred)
	r.mapping(c.Spec, source, target)
	if c.Kafka != nil {
		r.kafka(ctx, *c.Kafka, func(brokers int) []kafka.Topic { return c.Topics(source.tables, brokers) })
		if c.Spec.Kafka.Wire == migration.WireAvro {
			r.registry(ctx, c.Registry)
		}
	}
	if c.Redis != "" {
		r.redis(ctx, c.Redis)
	}
	return r.found
}

// report collects findings.
type report struct{ found []Finding }

func (r *report) error(object, text, mend string) {
	r.found = append(r.found, Finding{Severity: Error, Object: object, Text: text, Mend: mend})
}

func (r *report) warn(object, text, mend string) {
	r.found = append(r.found, Finding{Severity: Warning, Object: object, Text: text, Mend: mend})
}

// failure reports an error, with its hint as what mends it.
func (r *report) failure(object string, err error) {
	var ds migration.Diagnostics
	if errors.As(err, &ds) {
		r.diagnostics(ds)
		return
	}
	r.error(object, err.Error(), fault.HintOf(err))
	r.found[len(r.found)-1].Passing = fault.ClassOf(err) == fault.ClassTransient
}

// Errors counts the findings that keep a migration from starting.
func Errors(found []Finding) int {
	n := 0
	for _, f := range found {
		if f.Severity == Error {
			n++
		}
	}
	return n
}

// Diagnostics makes findings of what is wrong in the migration's file.
func Diagnostics(ds migration.Diagnostics) []Finding {
	r := &report{}
	r.diagnostics(ds)
	return r.found
}
