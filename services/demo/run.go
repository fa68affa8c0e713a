package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// RunConfig is how a demo is played.
type RunConfig struct {
	Executable string // the segue binary, for the services
	Dir        string // the data directory: logs and segue.yaml go to its folder demo
	Rows       int64  // of the legacy shop
	Seconds    int    // of traffic behind the initial load
	Rate       int    // transactions a second
	Keep       bool   // stay up at the end
	JSON       bool   // print a report for programs on Out
	Terminal   bool   // Talk is a terminal: progress is drawn in place
	Out, Talk  io.Writer
	// Progress looks where the migration stands, with the environment of the demo's processes.
	Progress func(ctx context.Context, env []string) (Progress, error)
}

// Progress is what the demo shows while it waits.
type Progress struct {
	Tables  []TableProgress
	Loaded  bool // the initial load is applied, constraints enforced
	Changes int64
	At      string
}

// TableProgress is one table's initial load, in blocks.
type TableProgress struct {
	Name        string
	Done, Total int64
	Complete    bool
}

// ErrNotHeld says that the demo ran through, and what it shows did not hold.
var ErrNotHeld = errors.New("the demo's promises did not hold")

// Run plays the demo.
func Run(ctx context.Context, c RunConfig) error {
	s := &stage{RunConfig: c}
	s.say("segue demo: a legacy shop moves to a new store while people use it. It takes about a minute.")
	began := time.Now()
	s, err := openStage(ctx, c)
	if err != nil {
		return err
	}
	defer s.close()
	s.say("two private PostgreSQL clusters, an embedded Kafka, registry and Redis: up in %s", since(began))
	p := &play{stage: s, report: Report{Rows: c.Rows}}
	if err := p.open(ctx); err != nil {
		return err
	}
	defer p.shut(ctx)
	if err := p.acts(ctx); err != nil {
		return err
	}
	return p.finish(ctx)
}

// play is a demo under way.
type play struct {
	*stage
	pool           *pgxpool.Pool
	legacy, target *pgx.Conn
	probeFrom      *pgx.Conn
	traffic        *Traffic
	probe          *Probe
	report         Report
	stopTraffic    func() error
}

func (p *play) open(ctx context.Context) (err error) {
	if p.legacy, err = pgx.Connect(ctx, p.stage.legacy.URL(legacyDatabase)); err != nil {
		return err
	}
	if p.target, err = pgx.Connect(ctx, p.stage.target.URL(targetDatabase)); err != nil {
		return err
	}
	if p.probeFrom, err = pgx.Connect(ctx, p.stage.legacy.URL(legacyDatabase)); err != nil {
		return err
	}
	p.pool, err = pgxpool.New(ctx, p.stage.legacy.URL(legacyDatabase))
	return err
}

func (p *play) shut(ctx context.Context) {
	if p.stopTraffic != nil {
		_ = p.stopTraffic()
	}
	ctx = context.WithoutCancel(ctx)
	for _, c := range []*pgx.Conn{p.legacy, p.target, p.probeFrom} {
		if c != nil {
			_ = c.Close(ctx)
		}
	}
	if p.pool != nil {
		p.pool.Close()
	}
}

// acts seeds the shop, loads it under traffic, streams, and kills a service in the middle.
func (p *play) acts(ctx context.Context) error {
	began := time.Now()
	if err := Seed(ctx, p.legacy, p.target, p.Rows); err != nil {
		return err
	}
	if err := p.legacy.QueryRow(ctx, countSQL).Scan(&p.report.Rows); err != nil {
		return err
	}
	p.say("the legacy shop has %d rows in six tables: %s", p.report.Rows, since(began))
	if err := p.startServices(ctx); err != nil {
		return err
	}
	if err := p.startTraffic(ctx); err != nil {
		return err
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	half := time.Duration(p.Seconds) * time.Second / 2
	if err := p.stream(ctx, half); err != nil {
		return err
	}
	if err := p.killOne(ctx); err != nil {
		return err
	}
	return p.stream(ctx, half)
}

const countSQL = `SELECT (SELECT count(*) FROM public.customers) + (SELECT count(*) FROM public.addresses) + (SELECT count(*) FROM public.products)
 + (SELECT count(*) FROM public.orders) + (SELECT count(*) FROM public.order_lines) + (SELECT count(*) FROM public.notes)`

// startTraffic lets people use the shop, and the probe measure, until stopTraffic.
func (p *play) startTraffic(ctx context.Context) (err error) {
	if p.traffic, err = NewTraffic(ctx, p.pool, p.Rows); err != nil {
		return err
	}
	p.probe = &Probe{}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- p.traffic.Run(ctx, 4, p.Rate) }()
	go func() { ended <- p.probe.Run(ctx, p.probeFrom, p.target, 50*time.Millisecond) }()
	p.stopTraffic = func() error {
		cancel()
		p.stopTraffic = nil
		return errors.Join(<-ended, <-ended)
	}
	p.say("people use the shop: %d transactions a second, all the while", p.Rate)
	return nil
}

// finish stops the traffic, lets the product prove that both stores agree, and tells where things are.
func (p *play) finish(ctx context.Context) error {
	if err := p.stopTraffic(); err != nil {
		return err
	}
	p.report.Transactions, p.report.Changes = p.traffic.Transactions.Load(), p.traffic.Changes.Load()
	p.say("traffic stops after %d transactions with %d changes. Do both stores agree? $ segue reconcile --wait", p.report.Transactions, p.report.Changes)
	proved, err := p.reconcile(ctx)
	if err != nil {
		return err
	}
	p.report.Proved = proved
	p.report.Held = proved && p.report.Resumed && p.report.Loaded
	if err := p.tell(); err != nil {
		return err
	}
	if p.Keep {
		p.stay(ctx)
	}
	if !p.report.Held {
		return ErrNotHeld
	}
	return nil
}

// reconcile asks the product itself, as a user would; its table goes to Out, its exit code is the verdict.
func (p *play) reconcile(ctx context.Context) (bool, error) {
	args := []string{"reconcile", "--wait", "--timeout", "2m"}
	if p.JSON {
		args = append(args, "-o", "json")
	}
	cmd := exec.CommandContext(ctx, p.Executable, args...)
	cmd.Env = append(cmd.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = p.verdictWriter(), p.Talk
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return false, nil
	}
	return err == nil, err
}

func since(t time.Time) string { return fmt.Sprintf("%.1f s", time.Since(t).Seconds()) }
