package applier

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/pgtarget"
)

// feed turns the source's events into steps: one goroutine fetches, one combines and prepares. Both end with their context;
// wait returns when they have.
type feed struct {
	source frontier.Source[change.Mapped]
	target *pgtarget.Target
	cfg    Config
	loaded bool   // the initial load was complete at the last frontier
	epoch  uint32 // of the last frontier
	budget *semaphore.Weighted
	limit  int64
	wg     sync.WaitGroup
	held   *item // taken from the queue, and left for the next plan
}

// item is an event with its size in memory.
type item struct {
	event frontier.Event[change.Mapped]
	size  int64
	err   error
}

// step is what the applier does next: exactly one of the first three is set.
type step struct {
	plan  *pgtarget.Plan
	opens *frontier.Frontier // the first frontier of the plan, where a load is under way that the one before it did not know of
	claim *frontier.Claim
	err   error
	size  int64
}

// queueLength bounds the events that wait, beside their bytes.
const queueLength = 4096

func (f *feed) start(ctx context.Context) <-chan step {
	f.limit = 3 * f.cfg.MaxBytes
	f.budget = semaphore.NewWeighted(f.limit)
	items, steps := make(chan item, queueLength), make(chan step)
	f.wg.Go(func() { f.fetch(ctx, items) })
	f.wg.Go(func() { f.prepare(ctx, items, steps) })
	return steps
}

func (f *feed) wait() { f.wg.Wait() }

// done gives a step's memory back.
func (f *feed) done(s step) {
	if s.plan != nil {
		f.target.Release(s.plan)
	}
	f.budget.Release(s.size)
}

func (f *feed) fetch(ctx context.Context, items chan<- item) {
	for {
		event, err := f.source.Next(ctx)
		it := item{event: event, err: err}
		if err == nil && event.Batch != nil {
			it.size = min(size(event.Batch), f.limit)
			if f.budget.Acquire(ctx, it.size) != nil {
				return
			}
		}
		select {
		case items <- it:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// size is about how much memory a batch holds.
func size(b *frontier.Batch[change.Mapped]) int64 {
	const perChange = 200
	n := 0
	for i := range b.Changes {
		n += perChange
		for j := range b.Changes[i].Ops {
			n += b.Changes[i].Ops[j].Row.Size() + b.Changes[i].Ops[j].Key.Size()
		}
	}
	return int64(n)
}

func (f *feed) prepare(ctx context.Context, items <-chan item, steps chan<- step) {
	for {
		s, ok := f.next(ctx, items)
		if !ok {
			return
		}
		select {
		case steps <- s:
		case <-ctx.Done():
			return
		}
		if s.err != nil {
			return
		}
	}
}

// next waits for an event and combines with it what is there already.
func (f *feed) next(ctx context.Context, items <-chan item) (step, bool) {
	it, ok := f.take(ctx, items)
	if !ok {
		return step{}, false
	}
	if it.err != nil {
		return step{err: it.err}, true
	}
	if it.event.Claim != nil {
		return step{claim: it.event.Claim.Claim}, true
	}
	batches, total, changes := []frontier.Batch[change.Mapped]{*it.event.Batch}, it.size, len(it.event.Batch.Changes)
	for !f.ends(batches[len(batches)-1].Frontier) && changes < f.cfg.MaxChanges && total < f.cfg.MaxBytes {
		more, ok := f.ready(items)
		if !ok {
			break
		}
		if !f.joins(batches, more) {
			f.held = &more
			break
		}
		batches = append(batches, *more.event.Batch)
		total += more.size
		changes += len(more.event.Batch.Changes)
	}
	first, last := batches[0].Frontier, batches[len(batches)-1].Frontier
	var opens *frontier.Frontier
	if !first.Loaded {
		opens = first
	}
	f.pass(last)
	plan, err := f.target.Prepare(batches)
	return step{plan: plan, opens: opens, err: err, size: total}, true
}

// ends says that something is to be done right behind the frontier, so that nothing may be combined over it.
func (f *feed) ends(last *frontier.Frontier) bool {
	loaded := f.loaded && last.At.Epoch == f.epoch
	return last.Boundary && (len(last.Marks) > 0 || (last.Loaded && !loaded))
}

// pass takes a frontier as the last one. A new epoch may load everything again.
func (f *feed) pass(last *frontier.Frontier) {
	if last.At.Epoch != f.epoch || !last.Loaded {
		f.epoch, f.loaded = last.At.Epoch, false
	}
	f.loaded = f.loaded || (last.Loaded && last.Boundary)
}

// joins says whether an event may go into the same plan. What ends inside a source transaction never stands behind a
// boundary in one: a claim takes it back, but not what was before it.
func (f *feed) joins(batches []frontier.Batch[change.Mapped], more item) bool {
	if more.err != nil || more.event.Batch == nil {
		return false
	}
	last, next := batches[len(batches)-1].Frontier, more.event.Batch.Frontier
	opens := last.Loaded && !next.Loaded // a table was added: its foreign keys go first
	return last.At.Epoch == next.At.Epoch && !opens && (next.Boundary || !last.Boundary)
}

func (f *feed) take(ctx context.Context, items <-chan item) (item, bool) {
	if f.held != nil {
		it := *f.held
		f.held = nil
		return it, true
	}
	select {
	case it := <-items:
		return it, true
	case <-ctx.Done():
		return item{}, false
	}
}

func (f *feed) ready(items <-chan item) (item, bool) {
	select {
	case it := <-items:
		return it, true
	default:
		return item{}, false
	}
}
