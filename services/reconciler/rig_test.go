package reconciler

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/table"
)

// rig is a source and a target with a pipeline in between that is real at both ends (slot, applier) and has no Kafka.
type rig struct {
	t              testing.TB
	spec           *migration.Spec
	mapping        *mapping.Mapping
	source, target *pgx.Conn
	stop           context.CancelFunc
	done           sync.WaitGroup

	unloaded atomic.Bool // the initial load counts as not complete
	mute     atomic.Bool // no snapshots are exported

	// open is a source table that counts as being read; the zero name: none does.
	open table.Name

	mu   sync.Mutex
	subs []*subscription
}

// subscription is one follower's view of the stream: what came since it was opened.
type subscription struct {
	mu     sync.Mutex
	queue  []*frontier.Batch[change.Change]
	signal chan struct{}
	open   *table.Name
}

func (s *subscription) push(b *frontier.Batch[change.Change]) {
	s.mu.Lock()
	s.queue = append(s.queue, b)
	s.mu.Unlock()
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

func (s *subscription) Next(ctx context.Context) (frontier.Event[change.Change], error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			b := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return frontier.Event[change.Change]{Batch: b}, nil
		}
		s.mu.Unlock()
		select {
		case <-s.signal:
		case <-ctx.Done():
			return frontier.Event[change.Change]{}, ctx.Err()
		}
	}
}

func (s *subscription) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0
}

type nobody struct{}

func (nobody) Ask(context.Context, []request.Request) error {
	return errors.New("nothing is asked for here")
}

// newRig runs the statements on both sides, starts the pipeline and returns when it runs. tables is the YAML below tables:.
func newRig(t testing.TB, tables string, source, target []string) *rig {
	t.Helper()
	return newRigAt(t, pgtest.Database(t), tables, source, target)
}

// newRigAt is newRig with a source that is somewhere else.
func newRigAt(t testing.TB, sourceURL, tables string, source, target []string) *rig {
	t.Helper()
	targetURL := pgtest.Database(t)
	r := &rig{t: t, source: pgtest.Connect(t, sourceURL), target: pgtest.Connect(t, targetURL)}
	pgtest.Exec(t, r.source, source...)
	pgtest.Exec(t, r.target, target...)
	name := fmt.Sprintf("m%d", rand.Uint64())
	text := fmt.Sprintf("migration: %s\nsource: {postgres: %q}\ntarget: {postgres: %q}\ntables:\n%s", name, sourceURL, targetURL, tables)
	spec, err := migration.Parse(migration.Input{Path: "segue.yaml", Text: []byte(text), Getenv: os.LookupEnv, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	r.spec = spec
	r.compile()
	r.start(sourceURL, targetURL)
	return r
}

func (r *rig) compile() {
	r.t.Helper()
	ctx := r.t.Context()
	names, err := postgres.AllTables(ctx, r.source)
	if err != nil {
		r.t.Fatal(err)
	}
	sources, err := postgres.Tables(ctx, r.source, names)
	if err != nil {
		r.t.Fatal(err)
	}
	names, err = postgres.AllTables(ctx, r.target)
	if err != nil {
		r.t.Fatal(err)
	}
	targets, err := postgres.TargetTables(ctx, r.target, names)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.mapping, err = mapping.Compile(r.spec, sources, targets); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) start(sourceURL, targetURL string) {
	r.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	setup := pgsource.Setup{Slot: r.spec.Name.Slot(), Publication: r.spec.Name.Publication()}
	for _, s := range r.mapping.Sources() {
		setup.Tables = append(setup.Tables, s.Name)
	}
	if _, err := pgsource.Ensure(ctx, r.source, setup); err != nil {
		r.t.Fatal(err)
	}
	stream, err := pgsource.OpenStream(ctx, pgsource.StreamConfig{
		URL: sourceURL, App: "rig", Slot: setup.Slot, Publication: setup.Publication, Shapes: r.mapping.Sources(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := pgtarget.Config{
		URL: targetURL, App: "rig", Migration: string(r.spec.Name), Owner: "rig", Mode: pgtarget.Fused,
		Fingerprint: r.mapping.Fingerprint(), Targets: r.mapping.Targets(), Asker: nobody{},
	}
	target, err := pgtarget.Open(ctx, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	p := &pipe{rig: r, stream: stream, target: target, cfg: cfg}
	r.done.Go(func() {
		defer stream.Close()
		defer target.Close()
		if err := p.run(ctx); ctx.Err() == nil {
			r.t.Errorf("the rig's pipeline: %v", err)
		}
	})
	r.t.Cleanup(func() {
		stop()
		r.done.Wait()
	})
}

// follow is Reconciler.follow.
func (r *rig) follow(context.Context) (frontier.Source[change.Change], func(), error) {
	s := &subscription{signal: make(chan struct{}, 1), open: &r.open}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs = append(r.subs, s)
	return s, func() {}, nil
}

func (r *rig) reconciler(cfg Config) *Reconciler {
	r.t.Helper()
	cfg.Spec, cfg.Mapping = r.spec, r.mapping
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	rec, err := New(cfg, Deps{})
	if err != nil {
		r.t.Fatal(err)
	}
	rec.follow = r.follow
	return rec
}

func (r *rig) compare(cfg Config) Report {
	r.t.Helper()
	report, err := r.reconciler(cfg).Compare(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

// pipe turns the slot's events into batches, applies them and hands them to the followers.
type pipe struct {
	rig    *rig
	stream *pgsource.Stream
	target *pgtarget.Target
	cfg    pgtarget.Config
	offset int64
	raw    []*frontier.Batch[change.Change]
	mapped []frontier.Batch[change.Mapped]
}

func (p *pipe) run(ctx context.Context) error {
	mapper := p.rig.mapping.Mapper()
	var batch *frontier.Batch[change.Change]
	var mapped []change.Mapped
	var at change.Position
	var xid uint32
	for {
		e, err := p.stream.Next(ctx)
		if err != nil {
			return err
		}
		switch e.Kind {
		case pgsource.KindBegin:
			at, xid = change.Position{Epoch: 1, LSN: e.Begin.FinalLSN}, e.Begin.XID
			batch, mapped = &frontier.Batch[change.Change]{Frontier: &frontier.Frontier{Boundary: true, Loaded: !p.rig.unloaded.Load(), Incarnation: 1}}, nil
		case pgsource.KindChange:
			at.Seq++
			e.Change.Pos = at
			var m change.Mapped
			if err := mapper.Map(&e.Change, &m); err != nil {
				return err
			}
			batch.Changes, mapped = append(batch.Changes, e.Change), append(mapped, m)
		case pgsource.KindTruncate:
			for _, t := range e.Truncate.Tables {
				at.Seq++
				c := change.Change{Pos: at, Table: t, Op: change.Truncate, Tx: change.Tx{XID: xid}}
				var m change.Mapped
				if err := mapper.Map(&c, &m); err != nil {
					return err
				}
				batch.Changes, mapped = append(batch.Changes, c), append(mapped, m)
			}
		case pgsource.KindMessage:
			mark, err := chunk.ParseMark(e.Message.Content)
			if err != nil {
				return err
			}
			if mark.Kind == chunk.MarkHigh && batch != nil {
				batch.Frontier.Marks = append(batch.Frontier.Marks, frontier.Mark{ID: mark.ID, Kind: "snapshot", At: at})
			}
		case pgsource.KindCommit:
			at.Seq++
			batch.Frontier.At = at
			p.offset++
			batch.Offset = p.offset
			p.raw = append(p.raw, batch)
			p.mapped = append(p.mapped, frontier.Batch[change.Mapped]{Offset: p.offset, Frontier: batch.Frontier, Changes: mapped})
			// On a backlog several batches are applied at once; one with a mark ends them.
			if len(batch.Frontier.Marks) == 0 && len(p.raw) < 500 && p.stream.Ready() {
				continue
			}
			if err := p.commit(ctx); err != nil {
				return err
			}
			p.stream.Confirm(e.Commit.EndLSN)
		case pgsource.KindOrigin, pgsource.KindSchema, pgsource.KindKeepalive:
		}
	}
}

func (p *pipe) commit(ctx context.Context) error {
	plan, err := p.target.Prepare(p.mapped)
	if err != nil {
		return err
	}
	for err = p.target.Apply(ctx, plan); fault.ClassOf(err) == fault.ClassTransient && ctx.Err() == nil; err = p.target.Apply(ctx, plan) {
		if err = p.target.Recover(ctx); err != nil { // a TRUNCATE waits for a snapshot's locks, and not for ever
			break
		}
	}
	p.target.Release(plan)
	if err != nil {
		return err
	}
	last := p.raw[len(p.raw)-1].Frontier
	if last.Loaded {
		if _, err := p.target.Loaded(ctx); err != nil {
			return err
		}
	}
	if p.rig.mute.Load() {
		last.Marks = nil
	}
	for _, m := range last.Marks {
		held, err := pgtarget.ExportSnapshot(ctx, p.cfg, m.ID, last.At, 20*time.Second)
		if err != nil {
			return err
		}
		p.rig.done.Go(func() { _ = held.Hold(ctx) })
	}
	p.rig.mu.Lock()
	defer p.rig.mu.Unlock()
	for _, s := range p.rig.subs {
		for _, b := range p.raw {
			s.push(b)
		}
	}
	p.raw, p.mapped = nil, nil
	return nil
}

// traffic runs random statements on the source, each client in transactions of its own, until the returned function is called,
// which returns how many there were.
func (r *rig) traffic(clients int, statement func(*rand.Rand) string) func() int {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	counts := make([]int, clients)
	for i := range clients {
		conn, err := pgx.Connect(ctx, r.source.Config().ConnString())
		if err != nil {
			r.t.Fatal(err)
		}
		wg.Go(func() {
			defer conn.Close(context.Background())
			random := rand.New(rand.NewSource(int64(i)))
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				if _, err := conn.Exec(ctx, statement(random)); err != nil && ctx.Err() == nil && !harmless(err) {
					r.t.Errorf("traffic: %v", err)
					return
				}
				counts[i]++
			}
		})
	}
	stopped := sync.OnceFunc(func() {
		stop()
		wg.Wait()
	})
	r.t.Cleanup(stopped)
	return func() int {
		stopped()
		n := 0
		for _, c := range counts {
			n += c
		}
		return n
	}
}

// harmless: two clients met at a key.
func harmless(err error) bool {
	state := postgres.SQLState(err)
	return state == "23505" || state == "40P01" || strings.Contains(err.Error(), "23505")
}
