package reconciler

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/postgres"
	"segue/pkg/reconcile"
	"segue/pkg/service"
	"segue/pkg/table"
)

// Reconciler compares, and measures how far each part is.
type Reconciler struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	// follow opens the stream at its last frontier; the function that it returns closes it.
	follow func(ctx context.Context) (frontier.Source[change.Change], func(), error)
}

// New makes a reconciler; it does no I/O.
func New(cfg Config, deps Deps) (*Reconciler, error) {
	cfg.defaults()
	if _, err := unitsOf(cfg.Mapping, cfg.Tables); err != nil {
		return nil, err
	}
	m, err := newMetrics(deps.Registerer)
	r := &Reconciler{cfg: cfg, deps: deps, metrics: m}
	r.follow = func(ctx context.Context) (frontier.Source[change.Change], func(), error) {
		stream, err := openStream(ctx, cfg.Spec, cfg.Mapping, &deps)
		if err != nil {
			return nil, nil, err
		}
		return stream, stream.reader.Close, nil
	}
	return r, err
}

// Compare compares all tables once: it plays rounds until each is proved equal or different, or Config.Timeout is over. The report is
// complete in either case; an error says that it could not even try.
func (r *Reconciler) Compare(ctx context.Context) (Report, error) {
	return r.compare(ctx, r.cfg.Tables)
}

// CompareUntilPass compares until all tables pass or Config.Timeout is over: what did not pass is compared again from the beginning.
// progress, where it is not nil, gets each report in between.
func (r *Reconciler) CompareUntilPass(ctx context.Context, progress func(Report)) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	started := time.Now()
	var whole Report
	tables := r.cfg.Tables
	for {
		report, err := r.compare(ctx, tables)
		if err != nil {
			return report, err
		}
		whole.take(report)
		whole.Seconds = time.Since(started).Seconds()
		if whole.Verdict == reconcile.Pass || ctx.Err() != nil {
			return whole, nil
		}
		if progress != nil {
			progress(whole)
		}
		tables = r.open(whole)
		if service.Sleep(ctx, waitPause) != nil {
			return whole, nil
		}
	}
}

// waitPause is the pause between two comparisons of CompareUntilPass.
const waitPause = time.Second

// take puts the results of a later report of some tables into the whole. What came to nothing, as a comparison does that the
// time cuts off, never replaces a proven difference: only a proof does.
func (r *Report) take(later Report) {
	if r.Tables == nil {
		*r = later
		return
	}
	r.Rounds, r.Lost, r.Reason = r.Rounds+later.Rounds, r.Lost+later.Lost, later.Reason
	var verdicts []reconcile.Verdict
	for i := range r.Tables {
		for _, t := range later.Tables {
			proven := t.Verdict != reconcile.Unknown || r.Tables[i].Verdict != reconcile.Differ
			if t.Table == r.Tables[i].Table && proven {
				r.Tables[i] = t
			}
		}
		verdicts = append(verdicts, r.Tables[i].Verdict)
	}
	r.Verdict = reconcile.Overall(verdicts)
}

// open lists the target tables that did not pass.
func (r *Reconciler) open(whole Report) []table.Name {
	verdict := map[string]reconcile.Verdict{}
	for _, t := range whole.Tables {
		verdict[t.Table] = t.Verdict
	}
	var out []table.Name
	for _, target := range r.cfg.Mapping.Targets() {
		if v, ok := verdict[target.Table.Name.String()]; ok && v != reconcile.Pass {
			out = append(out, target.Table.Name)
		}
	}
	if len(out) == 0 {
		return r.cfg.Tables
	}
	return out
}

func (r *Reconciler) compare(ctx context.Context, tables []table.Name) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	started := time.Now()
	units, err := unitsOf(r.cfg.Mapping, tables)
	if err != nil {
		return Report{}, err
	}
	c := &Comparer{cfg: r.cfg, units: units, life: strings.ToLower(rand.Text()[:12])}
	err = r.playOn(ctx, c)
	report := c.report(started, time.Now())
	if err != nil {
		report.Reason = err.Error()
	}
	r.metrics.compared(report)
	if err != nil && fault.ClassOf(err) != fault.ClassTransient {
		return report, fmt.Errorf("compare %s: %w", r.cfg.Spec.Name, err)
	}
	return report, nil
}

// playOn plays with new connections and a newly opened stream after each failure that may pass, until the context ends. What
// was proved stays proved: each round stands for itself.
func (r *Reconciler) playOn(ctx context.Context, c *Comparer) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := r.play(ctx, c)
		if err == nil || fault.ClassOf(err) != fault.ClassTransient && ctx.Err() == nil {
			return err
		}
		if service.Sleep(ctx, pause) != nil {
			return fault.Transient(err)
		}
	}
}

// The pauses behind failures.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// play opens what a comparison needs and runs it.
func (r *Reconciler) play(ctx context.Context, c *Comparer) error {
	name := r.cfg.Spec.Name
	defer c.close()
	if err := c.connect(ctx, string(r.cfg.Spec.Source.Postgres), string(r.cfg.Spec.Target.Postgres)); err != nil {
		return err
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	stream, closeStream, err := r.follow(ctx)
	if err != nil {
		return err
	}
	defer closeStream()
	c.marks = &sourceMarks{conn: c.control.source, prefix: name.MarkPrefix(), life: c.life}
	c.snapshots = &targetSnapshots{conn: c.control.target, migration: string(name)}
	c.books = &targetBooks{migration: string(name)}
	c.follower = newFollower(stream, c.units, c.control.keys, r.cfg.Touched)
	following, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.follower.run(following) })
	defer wg.Wait()
	defer stop()
	return c.run(ctx)
}

// control holds the connections besides the workers'.
type control struct{ source, target, keys *pgx.Conn }

// connect opens all connections: on each side one per worker, and the control's.
func (c *Comparer) connect(ctx context.Context, source, target string) error {
	app := c.cfg.Spec.Name.ApplicationName("reconciler")
	open := func(url string, into **pgx.Conn) error {
		conn, err := postgres.Connect(ctx, url, app)
		*into = conn
		return err
	}
	c.sources, c.targets, c.converts = make([]*pgx.Conn, c.cfg.Workers), make([]*pgx.Conn, c.cfg.Workers), make([]*pgx.Conn, c.cfg.Workers)
	for i := range c.cfg.Workers {
		if err := errors.Join(open(source, &c.sources[i]), open(target, &c.targets[i]), open(target, &c.converts[i])); err != nil {
			return err
		}
	}
	return errors.Join(open(source, &c.control.source), open(target, &c.control.target), open(target, &c.control.keys))
}

// connections lists all of them; those that could not be opened are nil.
func (c *Comparer) connections() []*pgx.Conn {
	return slices.Concat([]*pgx.Conn{c.control.source, c.control.target, c.control.keys}, c.sources, c.targets, c.converts)
}

// broken says that a connection is gone: new ones are needed.
func (c *Comparer) broken() bool {
	return slices.ContainsFunc(c.connections(), func(conn *pgx.Conn) bool { return conn != nil && conn.IsClosed() })
}

// closeWait bounds how long a connection may take to say goodbye.
const closeWait = 2 * time.Second

func (c *Comparer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	for _, conn := range c.connections() {
		if conn != nil {
			_ = conn.Close(ctx) // only reads were under way
		}
	}
}
