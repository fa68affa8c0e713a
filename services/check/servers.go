package check

import (
	"context"
	"fmt"

	"segue/pkg/kafka"
	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/pkg/redisstore"
	"segue/pkg/wire"
)

func (r *report) diagnostics(ds migration.Diagnostics) {
	for _, d := range ds {
		f := Finding{Severity: Error, Object: fmt.Sprintf("%s:%d:%d", d.Path, d.At.Line, d.At.Column), Text: d.Message, Mend: d.Source}
		if d.At.IsZero() {
			f.Object = d.Path
		}
		if d.Warning {
			f.Severity = Warning
		}
		r.found = append(r.found, f)
	}
}

// mapping compiles the rules against both catalogs, as far as these could be read.
func (r *report) mapping(spec *migration.Spec, source sourceSide, target targetSide) {
	if len(source.tables) == 0 || !target.read {
		return
	}
	m, err := mapping.Compile(spec, source.tables, target.tables)
	if err != nil {
		r.failure("mapping", err)
		return
	}
	r.diagnostics(m.Warnings())
}

func (r *report) kafka(ctx context.Context, c kafka.Config, topics func(brokers int) []kafka.Topic) {
	admin, err := kafka.OpenAdmin(c)
	if err != nil {
		r.failure("kafka", err)
		return
	}
	defer admin.Close()
	brokers, err := admin.Brokers(ctx)
	if err != nil {
		r.error("kafka", err.Error(), "is SEGUE_KAFKA_BROKERS right, and do TLS and SASL settings fit the listener?")
		return
	}
	found, err := admin.CheckTopics(ctx, topics(brokers))
	if err != nil {
		r.failure("kafka", err)
		return
	}
	missing := 0
	for _, f := range found {
		switch {
		case f.Fatal:
			r.error("topic "+f.Topic, f.Text, f.Mend)
		case f.Missing:
			missing++ // segue makes them at the start
		default:
			r.warn("topic "+f.Topic, f.Text, f.Mend)
		}
	}
}

func (r *report) registry(ctx context.Context, c wire.RegistryConfig) {
	reg, err := wire.NewRegistry(c)
	if err == nil {
		err = reg.Ping(ctx)
	}
	if err != nil {
		r.failure("registry", err)
	}
}

func (r *report) redis(ctx context.Context, url string) {
	if err := redisstore.Ping(ctx, url); err != nil {
		r.warn("redis", err.Error(), "set SEGUE_REDIS_URL, or leave it empty: Redis is never needed for correctness")
	}
}
