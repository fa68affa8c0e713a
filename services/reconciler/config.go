package reconciler

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/kafka"
	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/pkg/pgdigest"
	"segue/pkg/table"
	"segue/pkg/wire"
)

// Config says what is compared, and how hard.
type Config struct {
	Spec    *migration.Spec
	Mapping *mapping.Mapping
	Tables  []table.Name // source or target tables to compare; none: all
	// Timeout bounds one comparison; what is not proved by then is unknown. Zero: ten minutes.
	Timeout time.Duration
	// Every is the pause between two comparisons of the service; zero: it only measures offsets.
	Every time.Duration
	// Offsets is the pause between two looks at the offsets; zero: five seconds.
	Offsets time.Duration
	// Workers is how many connections read each side at once; zero: two.
	Workers int
	// ChunkBytes is how much of a source heap one transaction reads; zero: 64 MiB. Rows that have to travel: an eighth.
	ChunkBytes int64
	// Rest is the pause of a worker between two chunks of the source, which leaves room for the source's own users.
	Rest time.Duration
	// Memory bounds the answers that a round holds; zero: 64 MiB. Touched bounds the keys followed per table; zero: 100 000.
	Memory, Touched int
	// SegmentRows is how many rows of a large table are compared at once, where its key allows that; zero: a million.
	SegmentRows int64
	// Keep is how many differing rows are told of, for those who mend them (TableReport.Repair); zero: none beside the examples.
	Keep int
	// SnapshotWait is how long a round waits for its watermark to reach the target; zero: a minute.
	SnapshotWait time.Duration
}

// Deps is what the reconciler works with.
type Deps struct {
	Kafka      kafka.Config
	Codec      kafka.Codec   // of the reader's frontier topic
	Registry   wire.Registry // of the raw topics' schemas
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

func (c *Config) defaults() {
	orElse(&c.Timeout, 10*time.Minute)
	orElse(&c.Offsets, 5*time.Second)
	orElse(&c.Workers, 2)
	orElse(&c.ChunkBytes, 64<<20)
	orElse(&c.Memory, 64<<20)
	orElse(&c.Touched, 100_000)
	orElse(&c.SegmentRows, 1_000_000)
	orElse(&c.SnapshotWait, time.Minute)
}

func orElse[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// limits keep single statements from running away: a chunk takes seconds.
func (c *Config) limits() pgdigest.Limits {
	return pgdigest.Limits{Statement: min(c.Timeout, 5*time.Minute), Lock: 10 * time.Second}
}

// targetLimits wait for no lock: where the applier's TRUNCATE waits for the snapshot's holder, and we would wait behind it, the
// round is given up and the snapshot with it.
func (c *Config) targetLimits() pgdigest.Limits {
	return pgdigest.Limits{Statement: c.Timeout, Lock: 500 * time.Millisecond}
}
