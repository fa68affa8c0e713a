// Package reader follows a source: it turns the log into changes with positions on lanes, cuts frontiers behind its
// transactions, and reads tables in chunks while the log streams by (promises P1, P3, P6, P8 and P9).
//
// One Run is one life: it gets the slot, claims, resumes behind the last frontier that counts, and ends with the first error.
// A lost connection is a transient error: the group that runs the service starts it again. Nothing but Kafka and the slot
// remembers anything between two lives.
//
//   - The loop owns the order. It alone gives positions, appends to lanes and cuts. At a high watermark it emits the chunk.
//   - Workers read chunks: low watermark, wait until the loop met it, read, high watermark, wait for the loop's verdict.
//   - The desk is what the two share, under one lock.
//   - The poller takes a snapshot a second, writes heartbeats into an idle log, and watches slot and partitions.
//
// The slot is told an LSN only when a frontier that confirms it was read back from Kafka and found valid.
//
// Memory: the stream's buffer (8 MiB), the writer's buffer (32 MiB), and for each worker one chunk's rows (at most 4 × ChunkBytes of
// text plus 32 bytes a value; a single block whose rows are larger is read whole) and one window (WindowBytes).
package reader

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/frontier"
	"segue/pkg/pgsource"
	"segue/pkg/table"
)

// Config says what to follow and how.
type Config struct {
	// URL leads to the source's primary itself, App is the connections' application_name.
	URL, App          string
	Slot, Publication string
	// Displace is the application_name of the stream's own connection. Who has the slot under this name is an older life of this reader and is
	// ended: set it only where no other process may work, and to a name that only this chain of readers has. Empty: App, and nobody is ended.
	Displace string
	// MarkPrefix is the prefix of the logical messages (migration.Name.MarkPrefix).
	MarkPrefix string
	Tables     []table.Name
	// Partitions is the number of lanes per table. It never changes during a migration.
	Partitions int32

	// Workers read chunks at the same time (4), of about ChunkBytes of heap each (4 MiB). A window of more than WindowBytes (16 MiB) of
	// changes makes its chunk be read again, smaller.
	Workers     int
	ChunkBytes  int64
	WindowBytes int
	// RowsPerSecond and BytesPerSecond bound what all workers read together; 0: no bound.
	RowsPerSecond, BytesPerSecond int64
	// Retries is how often a chunk is tried that fails by an error (8). Chunks that are void for what happens on the source do not
	// count: they are tried until they succeed.
	Retries int

	// Conditions, by table, leave rows out of the migration's first load (mapping.Rule.Conditions).
	Conditions map[table.Name][]table.Condition
	// ActiveSessions and StandbyLag make the load wait while more sessions of others work on the source, or while one of its standbys is so many bytes
	// behind; 0: it never waits for that. Keys that are asked for are read all the same.
	ActiveSessions int
	StandbyLag     int64

	// Heartbeat is how long the log may be idle before the reader writes a message into it (2 s).
	Heartbeat time.Duration
	// Planned are the shapes that the mapping was made for: a life that finds others stops. Nil: any will do.
	Planned []*table.Table
	// Shape stands for what is taken of a table, and how: what was loaded under another one is read again. Nil: every column counts.
	Shape func(t *table.Table) string
	// CatalogEvery is how often the tables are looked at for what the log does not tell (15 s).
	CatalogEvery time.Duration
	// Uses says whether a column is taken. Nil: every one is.
	Uses func(n table.Name, column string) bool
	// Ignore says whether changes of a table's columns that are not taken stop nothing. Every other schema change stops the reader before
	// the first row that has it. Nil: all do.
	Ignore func(n table.Name) bool
	// NewHistory accepts a slot that does not continue the last frontier: the epoch grows, and every table is read again.
	NewHistory bool
}

func (c Config) withDefaults() Config {
	c.Workers = orDefault(c.Workers, 4)
	c.ChunkBytes = orDefault(c.ChunkBytes, 4<<20)
	c.WindowBytes = orDefault(c.WindowBytes, 16<<20)
	c.Retries = orDefault(c.Retries, 8)
	c.Heartbeat = orDefault(c.Heartbeat, 2*time.Second)
	c.Partitions = orDefault(c.Partitions, 1)
	c.CatalogEvery = orDefault(c.CatalogEvery, 15*time.Second)
	if c.Shape == nil {
		c.Shape = everyColumn
	}
	if c.Uses == nil {
		c.Uses = func(table.Name, string) bool { return true }
	}
	return c
}

// ignores says whether a change of the column stops nothing.
func (c *Config) ignores(n table.Name, column string) bool {
	return c.Ignore != nil && c.Ignore(n) && !c.Uses(n, column)
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Deps are what the reader writes to and hears from.
type Deps struct {
	// OpenWriter claims the reader's frontier topic. It is called once the slot is held, never before: from then on no older reader
	// can confirm anything.
	OpenWriter func(ctx context.Context, lanes []frontier.Lane) (Writer, error)
	// Peek says where the frontier topic stands, without claiming it. Nil: nothing is compared before the claim.
	Peek func(ctx context.Context) (frontier.State, error)
	// Encoders compiles one encoder per table.
	Encoders func(ctx context.Context, source pgsource.Identity, tables []*table.Table) ([]Encoder, error)
	// OpenRequests reads the requests from an offset on; nil: there are none.
	OpenRequests func(ctx context.Context, from int64) (Requests, error)
	Log          *slog.Logger
	Metrics      prometheus.Registerer // nil: none
}

// Reader is the service.
type Reader struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	current current
}

// New checks nothing and connects to nothing; Run does.
func New(cfg Config, deps Deps) *Reader {
	log := deps.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Reader{cfg: cfg.withDefaults(), deps: deps, log: log, metrics: newMetrics(deps.Metrics)}
}

// Run is one life of the reader. It returns nil when ctx ends: what was cut by then is in Kafka.
func (r *Reader) Run(ctx context.Context) error {
	s, err := r.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return r.stopped(err)
	}
	r.metrics.paused.Set(0)
	defer s.close()
	r.current.set(s)
	defer r.current.set(nil)
	err = s.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return r.stopped(err)
}

// stopped shows whether it was a schema change that ended a life.
func (r *Reader) stopped(err error) error {
	var changed *SchemaError
	if errors.As(err, &changed) {
		r.metrics.paused.Set(1)
	}
	return err
}
