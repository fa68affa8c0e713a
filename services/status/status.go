// Package status says where a migration stands: the source's log and slot, each stage's frontier, the target's progress, the
// initial load table by table. It asks the three places at once and shows what it gets: a part that cannot be reached keeps
// its last numbers, with their age and the reason. It only reads, and no rows (P10).
package status

import (
	"context"
	"sync"
	"time"

	"segue/pkg/change"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/table"
)

// Config says where to look.
type Config struct {
	Spec   *migration.Spec
	Kafka  *kafka.Config // nil: not known, see KafkaError
	Reason string        // why Kafka is not known
	Codec  func(ctx context.Context, topic string) (kafka.Codec, error)
	// Timeout bounds each look; zero: three seconds.
	Timeout time.Duration
}

// Part is what every part of a report has: when it was read, and why it could not be read since.
type Part struct {
	Read  time.Time `json:"read"` // zero: never
	Error string    `json:"error,omitempty"`
}

// Source is the legacy database's log.
type Source struct {
	Part
	Now       time.Time `json:"now"` // the server's clock
	LSN       LSN       `json:"lsn"`
	Slot      string    `json:"slot"`
	Exists    bool      `json:"slot_exists"`
	Active    bool      `json:"slot_active"`
	Confirmed LSN       `json:"confirmed_lsn"`
	Retained  int64     `json:"retained_bytes"`
	WALStatus string    `json:"wal_status"`
	SafeBytes int64     `json:"safe_bytes"` // how much more log the slot may hold back; -1: no limit
	// Unconfirmed is the log written since Confirmed, XminAge how many transactions old the catalog rows are that vacuum may not remove.
	Unconfirmed int64    `json:"unconfirmed_bytes"`
	XminAge     int64    `json:"catalog_xmin_age"`
	Inactive    float64  `json:"inactive_seconds"` // told by PostgreSQL 17 and later
	Failover    bool     `json:"failover"`         // the slot is kept on standbys too
	Invalid     string   `json:"invalidation,omitempty"`
	OnLimit     string   `json:"on_limit"`
	Crossed     []string `json:"crossed"` // thresholds of protect, with figures
}

// Stage is how far one stage's output counts.
type Stage struct {
	Name      string          `json:"name"`
	Position  change.Position `json:"-"`
	At        string          `json:"position"`
	Offset    int64           `json:"frontier_offset"`
	Committed time.Time       `json:"source_commit"` // of the newest transaction at or before At, by the source's clock
	Written   time.Time       `json:"written"`
	Owner     string          `json:"owner"`
}

// Stages is what the frontier topics say.
type Stages struct {
	Part
	List  []Stage `json:"list"`
	Loads []Load  `json:"loads"`
}

// Load is the initial load of one table.
type Load struct {
	Table    table.Name `json:"-"`
	Name     string     `json:"table"`
	Blocks   int64      `json:"blocks"`
	Done     int64      `json:"done_blocks"`
	Complete bool       `json:"complete"`
}

// Target is what is applied.
type Target struct {
	Part
	Exists    bool            `json:"exists"` // whether the migration has a row there
	Position  change.Position `json:"-"`
	At        string          `json:"position"`
	Mode      string          `json:"mode"`
	Owner     string          `json:"owner"`
	Loaded    bool            `json:"loaded"`
	Committed time.Time       `json:"source_commit"`
	Applied   time.Time       `json:"applied"` // by the target's clock
	Changes   int64           `json:"changes"`
	Pending   int64           `json:"pending"`
	Parked    int64           `json:"parked"` // rows set aside now
	// ParkedChanges is how many changes were ever set aside: those that a later one has superseded, too.
	ParkedChanges int64    `json:"parked_changes"`
	ParkedTables  []Parked `json:"parked_tables,omitempty"`
	Crossed       []string `json:"crossed"` // limits of target.pause_while, with figures: the applier rests
	// IndexesKept is how many indexes were taken away for the load, IndexesMade how many of them are there again.
	IndexesKept int    `json:"indexes_kept"`
	IndexesMade int    `json:"indexes_made"`
	Indexes     string `json:"indexes,omitempty"` // the same, with what is being made now
}

// Parked is how many rows of a source table are set aside.
type Parked struct {
	Name string `json:"table"`
	Rows int64  `json:"rows"`
}

// Lag is how far the target is behind.
type Lag struct {
	Known   bool    `json:"known"`
	Bytes   int64   `json:"bytes"`   // of the source's log, from what is applied to its end
	Seconds float64 `json:"seconds"` // from the newest source commit that the reader has seen to the newest applied one
}

// Service is who runs one service.
type Service struct {
	Name     string   `json:"name"`
	Working  string   `json:"working"`  // empty: nobody, for the moment
	Standing []string `json:"standing"` // who stands by
}

// Services are the services of which processes run, where those meet in Kafka.
type Services struct {
	Part
	List []Service `json:"list"`
}

// Report is one look at everything.
type Report struct {
	Migration string    `json:"migration"`
	Time      time.Time `json:"time"`
	Source    Source    `json:"source"`
	Stages    Stages    `json:"stages"`
	Target    Target    `json:"target"`
	Services  Services  `json:"services"`
	Lag       Lag       `json:"lag"`
}

// Look asks all parts. last is the report before, or nil: its numbers stay where a part cannot be reached now.
func Look(ctx context.Context, c Config, last *Report) Report {
	if c.Timeout == 0 {
		c.Timeout = 3 * time.Second
	}
	var r Report
	if last != nil {
		r = *last
	}
	r.Migration, r.Time = string(c.Spec.Name), time.Now().UTC()
	var wg sync.WaitGroup
	wg.Go(func() { keep(&r.Source, ask(ctx, c, readSource)) })
	wg.Go(func() { keep(&r.Stages, ask(ctx, c, readStages)) })
	wg.Go(func() { keep(&r.Target, ask(ctx, c, readTarget)) })
	wg.Go(func() { keep(&r.Services, ask(ctx, c, readServices)) })
	wg.Wait()
	r.Lag = lag(r)
	return r
}

// answer is a part as it was read, or why not.
type answer[T any] struct {
	part T
	err  error
}

func ask[T any](ctx context.Context, c Config, read func(context.Context, Config) (T, error)) answer[T] {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	part, err := read(ctx, c)
	return answer[T]{part, err}
}

type partial interface{ part() *Part }

func (p *Part) part() *Part { return p }

func keep[T any, P interface {
	*T
	partial
}](into P, a answer[T]) {
	if a.err != nil {
		into.part().Error = a.err.Error()
		return
	}
	*into = a.part
	into.part().Read = time.Now().UTC()
}

// lag compares what is applied with the source's log, as far as both are known.
func lag(r Report) Lag {
	l := Lag{Known: r.Target.Exists && !r.Source.Read.IsZero()}
	if !l.Known {
		return l
	}
	if applied := r.Target.Position.LSN; uint64(r.Source.LSN) > applied {
		l.Bytes = int64(uint64(r.Source.LSN) - applied)
	}
	for _, s := range r.Stages.List {
		if s.Name == "reader" && r.Target.Position.Before(s.Position) && !r.Target.Committed.IsZero() {
			l.Seconds = max(0, s.Committed.Sub(r.Target.Committed).Seconds())
		}
	}
	return l
}
