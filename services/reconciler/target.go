package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgdigest"
	"segue/pkg/reconcile"
)

// queue hands jobs to workers and merges their answers.
type queue struct {
	mu   sync.Mutex
	jobs []job
	by   map[*unit]*assignment
}

func newQueue(round []*assignment, list func(*assignment) ([]job, error)) *queue {
	q := &queue{by: map[*unit]*assignment{}}
	for _, a := range round {
		q.by[a.unit] = a
		jobs, err := list(a)
		a.err = errors.Join(a.err, err)
		q.jobs = append(q.jobs, jobs...)
	}
	return q
}

func (q *queue) pop() (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.jobs) > 0 {
		j := q.jobs[0]
		q.jobs = q.jobs[1:]
		if q.by[j.unit].err == nil {
			return j, true
		}
	}
	return job{}, false
}

// done merges an answer; an error makes the unit's round tell nothing, the others' go on.
func (q *queue) done(j job, side *reconcile.Side, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.by[j.unit]
	switch {
	case err != nil:
		a.err = errors.Join(a.err, err)
	case j.feeder == nil:
		a.target.Merge(side)
	default:
		a.source.Merge(side)
	}
}

// work runs jobs until none is left.
func (q *queue) work(ctx context.Context, read func(job, *reconcile.Task, *reconcile.Side) error) error {
	for {
		j, ok := q.pop()
		if !ok {
			return nil
		}
		task := &q.by[j.unit].task
		side := reconcile.NewSide(*task)
		err := read(j, task, side)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if q.done(j, side, err); fault.ClassOf(err) == fault.ClassTransient && !errors.Is(err, pgdigest.ErrRewritten) {
			return err // the connection may be gone
		}
	}
}

// readSources reads the source side of all tasks, several at a time.
func (c *Comparer) readSources(ctx context.Context, round []*assignment) error {
	q := newQueue(round, c.sourceJobs)
	g, ctx := errgroup.WithContext(ctx)
	for i := range c.sources {
		g.Go(func() error {
			return q.work(ctx, func(j job, t *reconcile.Task, side *reconcile.Side) error {
				return c.readSource(ctx, c.sources[i], c.converts[i], j, t, side)
			})
		})
	}
	return g.Wait()
}

// atMark waits until stream and target have reached the mark and reads the target side of all tasks in the snapshot there.
func (c *Comparer) atMark(ctx context.Context, mark string, round []*assignment) (change.Position, Standing, error) {
	waiting, cancel := context.WithTimeout(ctx, c.cfg.SnapshotWait)
	defer cancel()
	at, err := c.follower.await(waiting, mark)
	if err != nil {
		return at, Standing{}, err
	}
	snapshot, err := c.snapshots.Await(waiting, mark)
	if err != nil {
		return at, Standing{}, err
	}
	// The holder must not wait for nothing: the applier's stream may be waiting for its locks.
	release := sync.OnceValue(func() error { return c.snapshots.Release(ctx, mark) })
	defer func() { _ = release() }() // where it failed, the holder gives the snapshot up by itself in a while
	var standing Standing
	err = pgdigest.Import(ctx, c.targets[0], snapshot.ID, c.cfg.targetLimits(), func(tx pgx.Tx) (err error) {
		if standing, err = c.stands(ctx, tx, at, snapshot); err != nil {
			return err
		}
		for _, a := range round {
			if a.unit.heaps, err = pgdigest.HeapsAt(ctx, tx, a.unit.shape.Table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return at, standing, err
	}
	return at, standing, c.readTargets(ctx, snapshot, round, release)
}

// readTargets reads the target side of all tasks, several at a time, all in the same snapshot.
func (c *Comparer) readTargets(ctx context.Context, snapshot Snapshot, round []*assignment, release func() error) error {
	q := newQueue(round, c.targetJobs)
	var locked sync.WaitGroup
	locked.Add(len(c.targets))
	g, ctx := errgroup.WithContext(ctx)
	for _, conn := range c.targets {
		g.Go(func() error {
			here := sync.OnceFunc(locked.Done)
			defer here()
			return pgdigest.Import(ctx, conn, snapshot.ID, c.cfg.targetLimits(), func(tx pgx.Tx) error {
				if err := lockAll(ctx, tx, round); err != nil {
					return err
				}
				here()
				return q.work(ctx, func(j job, t *reconcile.Task, side *reconcile.Side) error {
					// A savepoint: one table's error must not end the others' snapshot.
					return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
						return c.targetDialect.Digest(ctx, tx, j.unit.shape, j.place, t, side)
					})
				})
			})
		})
	}
	g.Go(func() error {
		locked.Wait()
		return release()
	})
	return g.Wait()
}

// stands makes sure that the snapshot is the one right behind the mark.
func (c *Comparer) stands(ctx context.Context, tx pgx.Tx, at change.Position, snapshot Snapshot) (Standing, error) {
	s, err := c.books.Standing(ctx, tx)
	if err == nil && (s.At != at || snapshot.At != at) {
		err = fault.Transient(fmt.Errorf("the target's snapshot stands at %s, the watermark at %s: %w", s.At, at, errLost))
	}
	return s, err
}

// lockAll keeps the tables from being truncated or rewritten under the snapshot, which would show them empty, and makes
// sure that none was before the locks were there.
func lockAll(ctx context.Context, tx pgx.Tx, round []*assignment) error {
	var tables []pgdigest.Heap
	for _, a := range round {
		tables = append(tables, a.unit.heaps...)
	}
	if err := pgdigest.Lock(ctx, tx, tables); err != nil {
		return err
	}
	return pgdigest.Unchanged(ctx, tx, tables)
}
