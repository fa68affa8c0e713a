package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"segue/pkg/postgres"
	"segue/pkg/service"
	"segue/pkg/telemetry"
	"segue/services/demo"
	"segue/services/status"
)

// demoCommand shows the product on a sample shop; its children make and use that shop anywhere.
func (p *process) demoCommand() command {
	var (
		form output
		c    demo.RunConfig
	)
	return command{
		use: "demo", short: "move a sample shop while people use it, kill a service, prove that both stores agree",
		long: `Starts two private PostgreSQL clusters and an embedded Kafka, fills a legacy shop, and moves it to a new store with
another schema while traffic runs. One service is killed with SIGKILL in the middle. At the end the reconciler says
whether both stores agree. Exit code 0 only if all of it held.`,
		example:  "  segue demo\n  segue demo --rows 1000000 --seconds 60\n  segue demo --keep\n  segue demo -o json",
		settings: []string{"data-dir"},
		flags: func(cmd *cobra.Command) {
			form.flag(cmd)
			cmd.Flags().Int64Var(&c.Rows, "rows", 300_000, "about how many rows the legacy shop gets")
			cmd.Flags().IntVar(&c.Seconds, "seconds", 24, "how long people use the shop behind the initial load")
			cmd.Flags().IntVar(&c.Rate, "rate", 200, "how many transactions a second they commit")
			cmd.Flags().BoolVar(&c.Keep, "keep", false, "stay up at the end, and print the connection strings")
		},
		run:      func(cmd *cobra.Command, _ []string) error { return p.runDemo(cmd, c, form.json()) },
		children: []command{p.demoSeedCommand(), p.demoTrafficCommand()},
	}
}

func (p *process) runDemo(cmd *cobra.Command, c demo.RunConfig, json bool) (err error) {
	s, err := p.settings(cmd)
	if err != nil {
		return err
	}
	if c.Rows < 1000 || c.Seconds < 2 || c.Rate < 8 {
		return usage(errors.New("too small to show anything: want --rows from 1000, --seconds from 2, --rate from 8"))
	}
	if c.Executable, err = p.executable(); err != nil {
		return err
	}
	c.Dir, c.JSON, c.Out, c.Talk, c.Terminal = s.DataDir, json, p.stdout, p.stderr, p.terminal
	c.Progress = p.demoProgress
	return demo.Run(cmd.Context(), c)
}

// demoProgress asks as `segue status` does, with the environment of the demo's processes.
func (p *process) demoProgress(ctx context.Context, env []string) (demo.Progress, error) {
	inner := *p
	inner.lookup = func(name string) (string, bool) {
		for _, e := range env {
			if value, ok := strings.CutPrefix(e, name+"="); ok {
				return value, true
			}
		}
		return p.lookup(name)
	}
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	c, err := inner.statusConfig(cmd)
	if err != nil {
		return demo.Progress{}, err
	}
	r := status.Look(ctx, c, nil)
	if r.Target.Error != "" {
		return demo.Progress{}, errors.New(r.Target.Error)
	}
	out := demo.Progress{Loaded: r.Target.Loaded, Changes: r.Target.Changes, At: r.Target.At}
	for _, l := range r.Stages.Loads {
		out.Tables = append(out.Tables, demo.TableProgress{Name: l.Name, Done: l.Done, Total: l.Blocks, Complete: l.Complete})
	}
	return out, nil
}

func (p *process) demoSeedCommand() command {
	var rows int64
	var stay bool
	return command{
		use: "seed", short: "make the sample shop in the two databases of segue.yaml, where it is not there yet",
		example:  "  segue demo seed -c segue.yaml --rows 300000",
		settings: []string{"config", "listen"},
		flags: func(cmd *cobra.Command) {
			cmd.Flags().Int64Var(&rows, "rows", 300_000, "about how many rows; 0: none, and no shop")
			cmd.Flags().BoolVar(&stay, "stay", false, "stay up behind it and answer health checks, for what waits for the shop")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			if !stay {
				return p.seed(cmd, rows)
			}
			return p.attended(cmd, "shop", func(ctx context.Context, ready func()) error {
				if err := p.seed(cmd, rows); err != nil {
					return err
				}
				ready()
				<-ctx.Done()
				return nil
			})
		},
	}
}

func (p *process) seed(cmd *cobra.Command, rows int64) error {
	if rows == 0 {
		return nil
	}
	legacy, target, err := p.stores(cmd)
	if err != nil {
		return err
	}
	defer closeConn(cmd.Context(), legacy)
	defer closeConn(cmd.Context(), target)
	return postgres.Safe(demo.Seed(cmd.Context(), legacy, target, rows))
}

// attended runs something and answers health checks meanwhile.
func (p *process) attended(cmd *cobra.Command, name string, run func(ctx context.Context, ready func()) error) error {
	s, err := p.settings(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	group := service.NewGroup(telemetry.NewLogger(s.Log.Format, s.Log.Level, p.stderr))
	group.Add(name, func(ctx context.Context, status *service.Status) error {
		return run(ctx, status.Ready)
	})
	pages := make(chan error, 1)
	server := &telemetry.Server{Build: p.build(), Metrics: prometheus.NewRegistry(), States: group.States}
	if err := server.Open(ctx, s.Listen); err != nil {
		return err
	}
	go func() { pages <- server.Run(ctx) }()
	err = group.Run(ctx)
	cancel()
	return errors.Join(err, <-pages)
}

func (p *process) stores(cmd *cobra.Command) (legacy, target *pgx.Conn, err error) {
	source, sink, err := p.urls(cmd)
	if err != nil {
		return nil, nil, err
	}
	if legacy, err = postgres.Connect(cmd.Context(), source, "segue-demo"); err != nil {
		return nil, nil, fmt.Errorf("source: %w", err)
	}
	if target, err = postgres.Connect(cmd.Context(), sink, "segue-demo"); err != nil {
		closeConn(cmd.Context(), legacy)
		return nil, nil, fmt.Errorf("target: %w", err)
	}
	return legacy, target, nil
}

func (p *process) urls(cmd *cobra.Command) (source, target string, err error) {
	s, err := p.settings(cmd)
	if err != nil {
		return "", "", err
	}
	spec, err := p.spec(s)
	if err != nil {
		return "", "", err
	}
	return string(spec.Source.Postgres), string(spec.Target.Postgres), nil
}

func (p *process) demoTrafficCommand() command {
	var (
		rate, workers int
		rows          int64
		health        bool
	)
	return command{
		use: "traffic", short: "use the sample shop, until stopped",
		example:  "  segue demo traffic -c segue.yaml --rate 200",
		settings: []string{"config", "listen"},
		flags: func(cmd *cobra.Command) {
			cmd.Flags().IntVar(&rate, "rate", 200, "transactions a second; 0: as many as go")
			cmd.Flags().IntVar(&workers, "workers", 4, "how many people at once")
			cmd.Flags().Int64Var(&rows, "rows", 300_000, "how many rows the shop was made with")
			cmd.Flags().BoolVar(&health, "health", false, "answer health checks on --listen meanwhile")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			if workers < 1 || (rate > 0 && rate < workers) {
				return usage(errors.New("want at least one worker, and a rate of at least the workers' number"))
			}
			run := func(ctx context.Context, ready func()) error {
				return p.traffic(ctx, cmd, use{workers, rate, rows}, ready)
			}
			if health {
				return p.attended(cmd, "traffic", run)
			}
			return run(cmd.Context(), func() {})
		},
	}
}

// use is how much the sample shop is used.
type use struct {
	workers, rate int
	rows          int64
}

func (p *process) traffic(ctx context.Context, cmd *cobra.Command, u use, ready func()) error {
	source, _, err := p.urls(cmd)
	if err != nil {
		return err
	}
	pool, err := postgres.NewPool(ctx, source, "segue-demo", int32(u.workers))
	if err != nil {
		return err
	}
	defer pool.Close()
	traffic, err := demo.NewTraffic(ctx, pool, u.rows)
	if err != nil {
		return postgres.Safe(err)
	}
	ready()
	_, _ = fmt.Fprintln(p.stderr, "people use the shop; Ctrl-C ends it")
	err = traffic.Run(ctx, u.workers, u.rate)
	_, _ = fmt.Fprintf(p.stdout, "%d transactions, %d changes\n", traffic.Transactions.Load(), traffic.Changes.Load())
	return postgres.Safe(err)
}
