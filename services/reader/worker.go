package reader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/pgscan"
	"segue/pkg/service"
	"segue/pkg/table"
)

// workers read chunks.
type workers struct {
	desk     *desk
	scanner  Scanner
	emitter  Emitter
	wholes   Wholes
	clock    Clock
	throttle *throttle
	log      *slog.Logger
	metrics  *metrics

	life    int64 // the incarnation: it makes the ids of marks unique
	marks   atomic.Int64
	limit   int64 // bytes of rows that a chunk may hold
	step    int64 // bytes of heap that a chunk aims at
	retries int
}

// run is one worker.
func (w *workers) run(ctx context.Context) error {
	for {
		j, err := w.desk.take(ctx)
		if err != nil {
			return err
		}
		if err := w.read(ctx, j); err != nil {
			return err
		}
	}
}

// read tries a chunk until its rows are in the lanes, or until it went back to the plan.
func (w *workers) read(ctx context.Context, j *job) error {
	if j.chunk.Whole {
		return w.readWhole(ctx, j)
	}
	if j.keys == nil && j.chunk.Open {
		if grown, err := w.grown(ctx, j); grown || err != nil {
			return err
		}
	}
	for {
		v, err := w.try(ctx, j)
		if err != nil {
			return err
		}
		if v.again == "" {
			if err := w.throttle.wait(ctx, int64(v.emitted), j.result.Bytes); err != nil || !j.more() {
				return err
			}
			continue
		}
		w.metrics.again(j.table, v.again)
		if done, err := w.replan(ctx, j, v.again); done || err != nil {
			return err
		}
		if err := service.Sleep(ctx, w.backoff(j)); err != nil {
			return err
		}
	}
}

// try reads a chunk once. An error that may pass is a verdict until there were too many.
func (w *workers) try(ctx context.Context, j *job) (verdict, error) {
	v, err := w.attempt(ctx, j)
	if err == nil {
		return v, nil
	}
	if ctx.Err() != nil {
		return v, ctx.Err()
	}
	switch {
	case errors.Is(err, pgscan.ErrRewritten):
		return verdict{again: againRewritten}, nil
	case errors.Is(err, pgscan.ErrTooLarge):
		return verdict{again: againTooLarge}, nil
	case j.keys != nil && fault.ClassOf(err) == fault.ClassPoison:
		return verdict{again: againWrong}, nil
	case j.part != nil && refused(err):
		w.log.Error("the predicate of a resync fails, its other rows are left unread", "table", j.table.Name.String(), "error", err.Error())
		return verdict{again: againWrong}, nil
	}
	j.failures++
	if fault.ClassOf(err) != fault.ClassTransient || j.failures > w.retries {
		return v, fmt.Errorf("chunk of %s, try %d: %w", j.name(), j.failures, err)
	}
	w.log.Warn("reading a chunk again", "table", j.name(), "try", j.failures, "error", err.Error())
	return verdict{again: againError}, nil
}

// attempt is the order that everything rests on: low watermark, met by the loop, read, high watermark, verdict.
func (w *workers) attempt(ctx context.Context, j *job) (verdict, error) {
	low, high := w.mark(chunk.MarkLow), w.mark(chunk.MarkHigh)
	w.desk.begin(j, low.ID, high.ID)
	if err := w.emitter.Emit(ctx, low); err != nil {
		w.desk.abandon(j)
		return verdict{}, err
	}
	select {
	case <-j.started:
	case <-ctx.Done():
		return verdict{}, ctx.Err()
	}
	result, err := w.scan(ctx, j)
	if err != nil {
		w.desk.abandon(j)
		return verdict{}, err
	}
	w.desk.found(j, result)
	// Whether a high watermark whose answer was lost is in the log, the loop knows: if it is, the verdict comes.
	if err := w.emitter.Emit(ctx, high); err != nil && w.desk.abandon(j) {
		return verdict{}, err
	}
	select {
	case v := <-j.done:
		return v, nil
	case <-ctx.Done():
		return verdict{}, ctx.Err()
	}
}

func (w *workers) scan(ctx context.Context, j *job) (pgscan.Result, error) {
	if j.keys != nil {
		limit := w.limit
		if len(j.keys) == 1 {
			limit = 0 // no smaller piece exists
		}
		return w.scanner.ReadKeys(ctx, j.table, j.keys, limit)
	}
	limit := w.limit
	if j.single() {
		if _, _, ok := j.chunk.Lines.Halve(); !ok {
			limit = 0 // no smaller piece exists
		}
	}
	return w.scanner.Read(ctx, j.chunk, limit)
}

func (w *workers) mark(kind string) chunk.Mark {
	life := strconv.FormatInt(w.life, 10)
	return chunk.Mark{
		Kind: kind, Writer: chunk.ReaderWriter + ":" + life,
		ID: life + "-" + strconv.FormatInt(w.marks.Add(1), 10) + "-" + kind,
	}
}

// replan returns a chunk that must be read in another way; true where this worker is done with it.
func (w *workers) replan(ctx context.Context, j *job, reason why) (bool, error) {
	if j.keys != nil {
		return w.fewer(j, reason), nil
	}
	switch reason {
	case againRewritten:
		return true, w.restart(ctx, j)
	case againTooLarge, againOverflow:
		if j.single() {
			if reason == againTooLarge {
				j.splitBlock()
			}
			return false, nil
		}
		if reason == againTooLarge && j.chunk.Open && j.chunk.Range.To-j.chunk.Range.From <= 1 {
			return true, w.extend(ctx, j)
		}
		w.desk.within(j.part, func(p *chunk.Plan) { p.Again(j.chunk, true) })
		return true, nil
	case againWrong:
		w.desk.giveUp(j.part)
		return true, nil
	case againInvisible, againMoved, againError, againPassed:
	}
	return false, nil
}

// fewer makes a piece of keys smaller that cannot be read as it is; true where none is left. A single key that is no value of its column's
// type is left out: it would stop every life of the reader at the same request.
func (w *workers) fewer(j *job, reason why) bool {
	switch reason {
	case againWrong:
		if j.split() {
			return false
		}
		w.log.Error("a requested key is no value of its column's type, it is left unanswered", "table", j.name())
		w.desk.leaveOut(j)
		return !j.more()
	case againTooLarge, againOverflow:
		j.split()
	case againInvisible, againMoved, againError, againRewritten, againPassed:
	}
	return false
}

// restart plans a heap anew whose file changed.
func (w *workers) restart(ctx context.Context, j *job) error {
	heap, err := w.heap(ctx, j)
	if err != nil {
		return err
	}
	if heap.Leaf != j.table.Name && w.begun(j) {
		// Of a partition's truncate the log tells nothing: rows of it that were emitted may be gone.
		return partitionGone(j.table.Name, heap.Leaf, "rewritten or truncated while it was read")
	}
	w.log.Info("a table was rewritten, reading it from the start", "table", j.name())
	w.desk.within(j.part, func(p *chunk.Plan) {
		for _, h := range p.Heaps() {
			if h.Leaf == heap.Leaf && h.Filenode != heap.Filenode {
				p.Restart(heap)
				return
			}
		}
	})
	return nil
}

// begun says whether rows of the job's heap are in the lanes.
func (w *workers) begun(j *job) (begun bool) {
	w.desk.with(func(p *chunk.Plan) {
		for _, l := range p.Loads() {
			begun = begun || l.Leaf == j.chunk.Leaf && (len(l.Done) > 0 || l.Complete)
		}
	})
	return begun
}

// heap describes the job's heap as it is now.
func (w *workers) heap(ctx context.Context, j *job) (chunk.Heap, error) {
	heaps, err := w.scanner.Heaps(ctx, []*table.Table{j.table})
	if err != nil {
		return chunk.Heap{}, err
	}
	for _, h := range heaps {
		if h.Leaf == j.chunk.Leaf {
			return h, nil
		}
	}
	return chunk.Heap{}, partitionGone(j.table.Name, j.chunk.Leaf, "detached or dropped")
}

// grown looks, before an open range is read, whether its heap became so much longer that it wants more ranges.
func (w *workers) grown(ctx context.Context, j *job) (bool, error) {
	heap, err := w.heap(ctx, j)
	if err != nil {
		return false, err
	}
	if heap.Filenode != j.chunk.Filenode || int64(heap.Blocks) <= int64(j.chunk.Range.To)+w.step/chunk.BlockBytes {
		return false, nil
	}
	w.desk.within(j.part, func(p *chunk.Plan) { p.Grow(j.chunk, heap.Blocks) })
	return true, nil
}

// extend gives the open end another beginning, where it holds too much although it is as short as can be: the heap grew while its low
// watermark was on its way, or one block's rows are that large. What lies before that beginning has an end then.
func (w *workers) extend(ctx context.Context, j *job) error {
	heap, err := w.heap(ctx, j)
	if err != nil {
		return err
	}
	w.desk.within(j.part, func(p *chunk.Plan) { p.Grow(j.chunk, max(heap.Blocks, j.chunk.Range.To+1)) })
	return nil
}

// The waits between two tries of a chunk.
const (
	minWait = 20 * time.Millisecond
	maxWait = 2 * time.Second
)

func (w *workers) backoff(j *job) time.Duration {
	j.voids++
	return min(minWait<<min(j.voids-1, 10), maxWait)
}
