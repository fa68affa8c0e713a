// Package applier is the end of the pipeline: it takes batches of mapped changes from a source and puts them on the target
// in source order, each commit with its progress (promises P1, P2 and P4). Reading and preparing the next transaction overlaps
// applying the one before; on a backlog several frontiers become one target transaction, otherwise each is applied at
// once.
//
// Memory is bounded (P8): at most MaxBytes of changes per plan, and three times that over everything that is fetched,
// prepared or being applied; one frontier that is larger by itself passes alone.
package applier

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/table"
)

// Config says whose changes go where, and how much at a time.
type Config struct {
	Target pgtarget.Config
	// MaxChanges and MaxBytes bound what is combined into one target transaction; 0: 20 000 and 8 MB.
	MaxChanges int
	MaxBytes   int64
	// SnapshotHold is how long an exported snapshot is held where nobody releases it; 0: 30 s.
	SnapshotHold time.Duration
	// Sources says which target tables each source table feeds: a table that is added later is loaded without its own foreign keys alone.
	Sources map[table.Name][]table.Name
	// Pause says how busy the target may be before the applier rests; without a limit it does not look. It looks each StrainEvery; 0: 1 s.
	Pause       migration.Pause
	StrainEvery time.Duration
	// Look is how often people are told how far the indexes are; 0: 5 s.
	Look time.Duration
	// Retry is the first pause behind a transient error, which grows to 5 s; 0: 100 ms.
	Retry time.Duration
}

// Deps is what the applier is given by who composes it.
type Deps struct {
	Log     *slog.Logger
	Metrics *Metrics
	Now     func() time.Time
	// Waiting, where it is not nil, is told what the applier waits for, and "" when it goes on.
	Waiting func(why string)
}

const (
	defaultChanges = 20_000
	defaultBytes   = 8 << 20
	defaultHold    = 30 * time.Second
	defaultRetry   = 100 * time.Millisecond
	defaultLook    = 5 * time.Second
	maxRetry       = 5 * time.Second
	// grace is what a transaction that is being applied gets to end when the process stops.
	grace = 5 * time.Second
	// heldSnapshots bounds the snapshots held at once, two connections each.
	heldSnapshots = 4
)

// Applier is the owner of a migration's progress on the target.
type Applier struct {
	cfg       Config
	deps      Deps
	target    *pgtarget.Target
	progress  atomic.Pointer[pgtarget.Progress]
	counted   pgtarget.Stats
	holds     chan struct{}
	snapshots sync.WaitGroup
	strain    *strain       // nil: there is no limit
	open      bool          // a transaction is: nothing waits for less to do then
	worked    time.Duration // on the last step
}

// Open takes the migration over on the target, waiting visibly while that cannot be reached, and takes foreign keys away where the
// initial load is still to be done. Cursor then says where to open the source for Run.
func Open(ctx context.Context, cfg Config, deps Deps) (*Applier, error) {
	cfg.MaxChanges, cfg.MaxBytes = cmp.Or(cfg.MaxChanges, defaultChanges), cmp.Or(cfg.MaxBytes, defaultBytes)
	cfg.SnapshotHold, cfg.Retry, cfg.Look = cmp.Or(cfg.SnapshotHold, defaultHold), cmp.Or(cfg.Retry, defaultRetry), cmp.Or(cfg.Look, defaultLook)
	if deps.Now == nil {
		deps.Now = time.Now
	}
	a := &Applier{cfg: cfg, deps: deps, holds: make(chan struct{}, heldSnapshots)}
	err := a.persist(ctx, "open target", func(ctx context.Context) (err error) {
		if a.target == nil {
			if a.target, err = pgtarget.Open(ctx, cfg.Target); err != nil {
				return err
			}
		}
		if err = a.target.PrepareKeys(ctx); err != nil && fault.ClassOf(err) == fault.ClassTransient {
			a.target.Close()
			a.target = nil
		}
		return err
	})
	if err != nil {
		a.Close()
		return nil, err
	}
	for _, note := range a.target.Notes() {
		deps.Log.Info("note", "text", note)
	}
	a.publish()
	at := a.target.Cursor()
	deps.Log.Info("target opened", "position", at.At.String(), "frontier", at.Offset, "pending", a.Progress().Pending)
	return a, nil
}

// Cursor is where the target stands: where to open the source.
func (a *Applier) Cursor() frontier.Cursor { return a.target.Cursor() }

// Progress is where the target stands, for status. It may be called at any time.
func (a *Applier) Progress() pgtarget.Progress { return *a.progress.Load() }

// Close gives the target up. Run does so itself.
func (a *Applier) Close() {
	if a.target != nil {
		a.target.Close()
	}
}

// Run applies what the source yields until ctx ends or something fails for good. An error of class transient means: open
// again, at the new Cursor.
func (a *Applier) Run(ctx context.Context, source frontier.Source[change.Mapped]) error {
	defer a.Close()
	run, stop := context.WithCancel(ctx)
	defer stop()
	// What is being applied when the process stops may end: the next start then has nothing to do again.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(run, func() { time.AfterFunc(grace, cancel) })()

	f := &feed{source: source, target: a.target, cfg: a.cfg, loaded: a.target.Progress().Loaded, epoch: a.Cursor().At.Epoch}
	steps := f.start(run)
	defer a.snapshots.Wait()
	defer f.wait()
	if a.cfg.Pause.Watches() {
		a.strain = newStrain(a.cfg, a.deps)
		f.wg.Go(func() { a.strain.watch(run) })
	}
	defer stop() // before the two that wait for it
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s := <-steps:
			if s.err != nil {
				return s.err
			}
			if a.strain != nil && s.plan != nil && !a.open {
				if err := a.rest(ctx, a.worked); err != nil {
					return err
				}
			}
			start := a.deps.Now()
			if err := a.step(work, run, s); err != nil {
				return a.rewinds(err)
			}
			a.worked, a.open = a.deps.Now().Sub(start), s.plan != nil && !s.plan.Frontier().Boundary
			f.done(s)
		}
	}
}

// step does one thing: a claim takes back what is open, a plan is applied and what its frontier asks for is done.
func (a *Applier) step(work, run context.Context, s step) error {
	if s.claim != nil {
		a.deps.Log.Info("writer changed", "stage", s.claim.Stage, "owner", s.claim.Owner)
		if err := a.target.Rollback(work); err != nil {
			return a.recovered(work, err)
		}
		return nil
	}
	last := s.plan.Frontier()
	if p := a.target.Progress(); p.Loaded && s.opens != nil {
		if err := a.openLoad(work, run, s.opens, last.At.Epoch > p.At.Epoch); err != nil {
			return err
		}
	}
	if err := a.apply(work, run, s.plan); err != nil {
		return err
	}
	if !last.Boundary {
		return nil
	}
	if last.Loaded && !a.target.Progress().Loaded {
		if err := a.finishLoad(work, run); err != nil {
			return err
		}
	}
	for _, m := range last.Marks {
		if m.Kind == markSnapshot {
			a.export(run, m.ID, last.At)
		}
	}
	return nil
}

// openLoad takes foreign keys away behind a load that was complete: of all tables where the source's history has forked, else of those that
// were added to the migration.
func (a *Applier) openLoad(work, run context.Context, opens *frontier.Frontier, forked bool) error {
	tables := a.unloaded(opens)
	a.deps.Log.Warn("tables are loaded, without their foreign keys", "tables", len(tables), "new_history", forked)
	return a.onTarget(work, run, "begin a load", func(ctx context.Context) error { return a.target.LoadAgain(ctx, tables) })
}

// unloaded are the target tables whose source table has nothing complete. The frontier is the first of a new life of the reader, which
// lists all loads. Where the sources are not known, they are all of them.
func (a *Applier) unloaded(opens *frontier.Frontier) []table.Name {
	if len(a.cfg.Sources) == 0 {
		return a.target.Tables()
	}
	complete := map[table.Name]bool{}
	for i := range opens.Loads {
		complete[opens.Loads[i].Table] = complete[opens.Loads[i].Table] || opens.Loads[i].Complete
	}
	var out []table.Name
	for source, targets := range a.cfg.Sources {
		if !complete[source] {
			out = append(out, targets...)
		}
	}
	return out
}

// recovered makes the target usable again behind an error outside of a plan.
func (a *Applier) recovered(ctx context.Context, cause error) error {
	if fault.ClassOf(cause) != fault.ClassTransient {
		return cause
	}
	return transientRewind(a.target.Recover(ctx))
}

// onTarget does something between two plans, again and again while it fails for a transient cause.
func (a *Applier) onTarget(work, run context.Context, what string, do func(ctx context.Context) error) error {
	return a.persistUntil(work, run, what, func(ctx context.Context) error {
		err := do(ctx)
		if err != nil {
			if rerr := a.recovered(ctx, err); rerr != nil {
				return rerr
			}
		}
		return err
	})
}

func (a *Applier) finishLoad(work, run context.Context) error {
	a.deps.Log.Info("initial load complete: foreign keys are enforced now, which takes a while on large tables")
	start := a.deps.Now()
	defer a.watchIndexes(run)()
	var notes []string
	err := a.onTarget(work, run, "finish initial load", func(ctx context.Context) (err error) {
		notes, err = a.target.Loaded(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, note := range notes {
		a.deps.Log.Info("note", "text", note)
	}
	a.publish()
	a.deps.Log.Info("foreign keys enforced", "took", a.deps.Now().Sub(start).Round(time.Millisecond).String())
	return nil
}
