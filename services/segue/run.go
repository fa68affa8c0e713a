package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"segue/pkg/config"
	"segue/pkg/service"
	"segue/pkg/telemetry"
)

// runnable is one way to run: a service, or all.
type runnable struct {
	name, short string
	stages      string // where nobody says otherwise
	components  func(w *work) []component
}

type component struct {
	name string
	run  service.Run
}

func runnables() []runnable {
	reader := func(w *work) []component { return []component{{"reader", w.seated(stageReader, w.runReader)}} }
	transformer := func(w *work) []component {
		return []component{
			{"transformer", w.seated(stageTransformer, w.runTransformer)},
		}
	}
	deduplicator := func(w *work) []component {
		return []component{
			{"deduplicator", w.seated(stageDeduplicator, w.runDeduplicator)},
		}
	}
	applier := func(w *work) []component {
		return []component{
			{"applier", w.seated(serviceApplier, w.runApplier)},
			{"trimmer", w.beside(serviceApplier, w.runTrimmer)},
			{"letters", w.beside(serviceApplier, w.runLetters)},
		}
	}
	reconciler := func(w *work) []component { return []component{{"reconciler", w.runReconciler}} }
	return []runnable{
		{"reader", "read the source: snapshot, then stream, into the raw topics", config.Staged, reader},
		{"transformer", "map raw changes to target rows", config.Staged, transformer},
		{"deduplicator", "merge duplicate entities", config.Staged, deduplicator},
		{"applier", "write to the target; --stages fused: with transformer and deduplicator in memory", config.Staged, applier},
		{"reconciler", "measure how far everything is", config.Staged, reconciler},
		{"all", "run everything in one process", config.Fused, func(w *work) []component {
			out := reader(w)
			if w.stages == config.Staged {
				out = append(append(out, transformer(w)...), deduplicator(w)...)
			}
			return append(append(out, applier(w)...), reconciler(w)...)
		}},
	}
}

func (p *process) runCommand() command {
	c := command{
		use: "run", short: "run a service, or all of them",
		long: `Runs until it is stopped. A first SIGINT or SIGTERM drains, a second one ends the process at once; either way the
next start goes on behind the last commit. Without Kafka brokers, "run all" brings its own Kafka, registry and
Redis, with their data in the data directory.`,
		example: "  segue run all -c segue.yaml\n  segue run all --stages staged\n  SEGUE_KAFKA_BROKERS=kafka:9092 SEGUE_REGISTRY_URL=http://registry:8081 segue run reader",
	}
	for _, r := range runnables() {
		var accept, newHistory bool
		c.children = append(c.children, command{
			use: r.name, short: r.short, settings: append([]string{"listen", "stages"}, everywhere...),
			example: "  segue run " + r.name + " -c segue.yaml",
			flags: func(cmd *cobra.Command) {
				if r.name == stageReader || r.name == "all" {
					cmd.Flags().BoolVar(&newHistory, "new-history", false, "go on with a slot that does not continue what Kafka holds: every table is read again; then run segue resync --table '*.*' --differences")
				}
				if r.name == "applier" || r.name == "all" {
					cmd.Flags().BoolVar(&accept, "accept-mapping", false, "take a changed mapping from here on: rows that are on the target already stay as they are")
				}
			},
			run: func(cmd *cobra.Command, _ []string) error { return p.serve(cmd, r, choices{accept, newHistory}) },
		})
	}
	return c
}

// memoryLimit is what the collector aims to stay below, so that a service stays below 256 MB resident (P8): buffers are bounded, but
// garbage would double them. An embedded Kafka has its own needs. GOMEMLIMIT overrides it.
const memoryLimit = 200 << 20

// choices are what the user decided where segue must not decide by itself.
type choices struct {
	acceptMapping bool // take a changed mapping from here on
	newHistory    bool // read every table again
}

func (p *process) serve(cmd *cobra.Command, r runnable, c choices) (err error) {
	s, err := p.settings(cmd)
	if err != nil {
		return err
	}
	if r.name != "all" {
		if err := must(s, "run "+r.name); err != nil {
			return err
		}
	}
	spec, err := p.spec(s)
	if err != nil {
		return err
	}
	if s.Stages == "" {
		s.Stages = r.stages
	}
	log := telemetry.NewLogger(s.Log.Format, s.Log.Level, p.stderr)
	servers, err := start(cmd.Context(), s, log)
	if err != nil {
		return err
	}
	if servers.embedded == nil && p.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	if servers.embedded != nil {
		log.Info("no brokers are set: an embedded Kafka, registry and Redis run in this process",
			"data", s.DataDir, "brokers", strings.Join(servers.kafka.Brokers, ","), "registry", servers.registry.URL, "redis", servers.redis)
	}
	w, err := newWork(p, s, spec, servers, r.name)
	if err != nil {
		return err
	}
	w.choices, w.reads = c, r.name == "all" || r.name == stageReader
	return p.runAll(cmd.Context(), s, w, r)
}

// runAll runs the components beside the pages for health and metrics.
func (p *process) runAll(ctx context.Context, s *config.Settings, w *work, r runnable) error {
	group := service.NewGroup(w.log)
	for _, c := range r.components(w) {
		group.Add(c.name, w.patient(c.run))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages := make(chan error, 1)
	if s.Listen == "" {
		pages <- nil
	} else {
		server := &telemetry.Server{Build: w.build, Metrics: w.registerer, States: group.States}
		if err := server.Open(ctx, s.Listen); err != nil {
			return err
		}
		w.log.Info("health and metrics", "address", server.Address())
		go func() { pages <- server.Run(ctx) }()
	}
	w.log.Info("started", "migration", string(w.spec.Name), "run", r.name, "stages", w.stages, "version", w.build.Version, "revision", w.build.Revision)
	watched := w.watch(ctx, p)
	err := group.Run(ctx)
	w.leaveAll(ctx)
	cancel()
	<-watched
	if pageErr := <-pages; pageErr != nil {
		err = errors.Join(err, pageErr)
	}
	if err == nil {
		w.log.Info("stopped", "run", r.name)
		return nil
	}
	return fmt.Errorf("stopped: %w", err)
}
