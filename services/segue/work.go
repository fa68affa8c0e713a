package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/config"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
	"segue/pkg/service"
	"segue/pkg/table"
	"segue/pkg/telemetry"
	"segue/pkg/wire"
	"segue/services/check"
)

// work is one migration as this process runs it: what its components share.
type work struct {
	spec     *migration.Spec
	servers  *surroundings
	registry wire.Registry
	stages   string // config.Fused or config.Staged
	owner    string // this process, for people who look at claims and the progress row
	instance string // the same over all its lives
	seats    *seats
	build    telemetry.Build
	log      *slog.Logger
	board    *board // what log writes to
	choices  choices
	reads    bool   // the reader runs in this process
	told     string // of the schema change that the reader stands in front of

	registerer *prometheus.Registry
	meters     *meters

	mu    sync.Mutex
	plan  *plan
	letIn bool // both databases have let this process in
}

// plan is what both catalogs and the migration's file make together, once per life: a table whose shape
// changes stops the pipeline, and the next start, or the next one that takes over, makes a new one.
type plan struct {
	mapping *mapping.Mapping
	tables  []*table.Table // of the source
	lanes   []frontier.Lane
	source  pgsource.Identity
	fresh   bool // the source has no slot of this migration yet
}

func newWork(p *process, s *config.Settings, spec *migration.Spec, servers *surroundings, service string) (*work, error) {
	board := &board{to: p.stderr}
	registry, err := servers.schemas(spec)
	if err != nil {
		return nil, err
	}
	build := p.build()
	metrics := telemetry.NewRegistry(build)
	return &work{
		spec: spec, servers: servers, registry: registry, stages: s.Stages, owner: newOwner(service), build: build,
		instance: newInstance(s), seats: newSeats(),
		log: telemetry.NewLogger(s.Log.Format, s.Log.Level, board), board: board, registerer: metrics, meters: newMeters(metrics),
	}, nil
}

func newOwner(service string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return service + "@" + host + ":" + strconv.Itoa(os.Getpid()) + ":" + time.Now().UTC().Format("20060102T150405Z")
}

// prepared returns the plan and makes it at the first call: it reads both catalogs, compiles the mapping and makes the
// topics. What fails for a transient reason is tried again by the next caller.
func (w *work) prepared(ctx context.Context) (*plan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan != nil {
		return w.plan, nil
	}
	p, err := readPlan(ctx, w.spec)
	if err != nil {
		return nil, err
	}
	for _, d := range p.mapping.Warnings() {
		w.log.Warn("mapping", "place", fmt.Sprintf("%s:%d:%d", d.Path, d.At.Line, d.At.Column), "says", d.Message)
	}
	if p.fresh && w.reads {
		if err := essentials(ctx, w.spec); err != nil {
			return nil, err
		}
	}
	if err := w.ensureTopics(ctx, p); err != nil {
		return nil, err
	}
	w.plan, w.letIn = p, true
	return p, nil
}

// patient waits where a database refuses a connection that it has let in before: somebody changes a role, a password, a name. At the first
// start it is a mistake in the URL, and stops.
func (w *work) patient(run service.Run) service.Run {
	return func(ctx context.Context, status *service.Status) error {
		err := run(ctx, status)
		if !postgres.Refused(err) {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.letIn {
			return err
		}
		return &fault.Error{Err: err, Class: fault.ClassTransient,
			Hint: "this process was let in before: look at the role, its password, the database and pg_hba.conf; where the URL has to change, start again with the new one"}
	}
}

// forget lets the next call of prepared make a new plan.
func (w *work) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plan = nil
}

// readPlan reads both catalogs and compiles the mapping against them.
func readPlan(ctx context.Context, spec *migration.Spec) (*plan, error) {
	source, err := postgres.Connect(ctx, string(spec.Source.Postgres), spec.Name.ApplicationName("prepare"))
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	defer closeConn(ctx, source)
	// Before the catalog is read: whatever is of another shape than that, and lies before this, is older.
	identity, err := pgsource.Identify(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	all, err := postgres.AllTables(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	selected, err := mapping.Select(spec, all)
	if err != nil {
		return nil, err
	}
	var from, to []table.Name
	for _, s := range selected {
		from, to = append(from, s.Source), append(to, s.Target)
	}
	tables, err := postgres.Tables(ctx, source, from)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	slot, err := pgsource.Inspect(ctx, source, spec.Name.Slot())
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	target, err := postgres.Connect(ctx, string(spec.Target.Postgres), spec.Name.ApplicationName("prepare"))
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	defer closeConn(ctx, target)
	shapes, err := postgres.TargetTables(ctx, target, to)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	m, err := mapping.Compile(spec, tables, shapes)
	if err != nil {
		return nil, err
	}
	return &plan{mapping: m, tables: m.Sources(), lanes: lanes(spec, m.Sources()), source: identity, fresh: !slot.Exists}, nil
}

// essentials looks at both databases before a migration touches them for the first time.
func essentials(ctx context.Context, spec *migration.Spec) error {
	found := check.Run(ctx, check.Config{Spec: spec})
	if err := ctx.Err(); err != nil {
		return err // it was stopped: what could not be looked at is no finding
	}
	n := check.Errors(found)
	if n == 0 {
		return nil
	}
	var b strings.Builder
	passing := true
	for _, f := range found {
		if f.Severity == check.Error {
			passing = passing && f.Passing
			fmt.Fprintf(&b, "\n%s: %s", f.Object, f.Text)
			if f.Mend != "" {
				fmt.Fprintf(&b, "\n  → %s", f.Mend)
			}
		}
	}
	err := fmt.Errorf("%s before the first start:%s", count(n, "finding"), b.String())
	if passing {
		return fault.Transient(err)
	}
	return fault.Fatal(err, "segue check shows all of them")
}

func closeConn(ctx context.Context, c *pgx.Conn) { _ = c.Close(context.WithoutCancel(ctx)) }

func (w *work) ensureTopics(ctx context.Context, p *plan) error {
	admin, err := kafka.OpenAdmin(w.servers.kafka)
	if err != nil {
		return err
	}
	defer admin.Close()
	brokers, err := admin.Brokers(ctx)
	if err != nil {
		return err
	}
	return admin.EnsureTopics(ctx, topics(w.spec, p.tables, w.stages, brokers))
}

// frontiers is the codec of a stage's frontier topic.
func (w *work) frontiers(ctx context.Context, stage string) (*wire.Frontiers, error) {
	return wire.NewFrontiers(ctx, w.registry, w.spec.Name.FrontierTopic(stage))
}

// laneTopic says which topic holds a stage's lanes.
func (w *work) laneTopic(stage string) func(string) string {
	switch stage {
	case stageTransformer:
		return w.spec.Name.ShapedLane
	case stageDeduplicator:
		return w.spec.Name.UniqueLane
	}
	return w.spec.Name.RawLane
}
