package reader

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/pgscan"
	"segue/pkg/pgsource"
	"segue/pkg/service"
	"segue/pkg/table"
)

// A table without key is loaded whole. Its rows are those of a snapshot that a temporary slot exports: it sees exactly the commits below a
// point C of the log. From before the slot is made the desk keeps the newest of the table's changes. Behind the snapshot the worker writes a mark; where
// the loop meets it, at a commit P above C, a truncate, the snapshot's rows and the table's changes from C up to P are emitted: together
// they are what the table is at P. So no position is needed that the stream has not reached yet, and the stream stands still only while
// the rows are read. What comes of the table before its first load is left out: P says all of it.
//
// All of it belongs to the mark's transaction, with cuts inside that are no boundaries: a life that ends in between has loaded nothing.

// whole is a table without key. The desk's lock guards it.
type whole struct {
	loaded   bool        // its changes go on to the lanes
	span     *chunk.Span // its newest changes, while a load is under way
	from     uint64      // what is below is in the load's snapshot; 0: not known yet
	requests []int64     // that the next load answers
}

// openWholes enters the tables without key.
func (d *desk) openWholes() {
	loaded := map[table.Name]bool{}
	for _, l := range d.plan.Loads() {
		loaded[l.Table] = l.Complete
	}
	for _, t := range d.tables {
		if t.Keyless() {
			d.wholes[t] = &whole{loaded: loaded[t.Name]}
		}
	}
}

// passes shows a change of a table without key to its load, and says whether it goes on to the lanes. The change may be of an older shape of
// the table: then its own is another one with the same name.
func (d *desk) passes(c *change.Change, lsn uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.wholes[d.tables[c.Table.Name]]
	if w.span != nil && lsn >= w.from {
		kept := chunk.Clone(c)
		kept.Pos.LSN = lsn
		w.span.Add(kept)
	}
	return w.loaded
}

// collect begins to keep the changes of the job's table: before its snapshot is taken.
func (d *desk) collect(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.wholes[j.table]
	w.span, w.from = chunk.NewSpan(d.windowBytes), 0
}

// await enters the mark at which the loop emits the job, whose rows wait.
func (d *desk) await(j *job, r Whole, high string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j.whole, j.low, j.high, j.done = r, "", high, make(chan verdict, 1)
	d.wholes[j.table].from = r.Point()
	d.marks[high] = j
}

// wholeAt takes the load whose mark passes, which is the loop's from here on, with the changes of its table that its snapshot does not see; false:
// they are not all there. Nil: no whole load waits for the mark, or it was given up.
func (d *desk) wholeAt(id string) (*job, []*change.Change, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.marks[id]
	if j == nil || j.whole == nil {
		return nil, nil, false
	}
	delete(d.marks, id)
	w := d.wholes[j.table]
	changes, ok := w.span.From(j.whole.Point())
	w.span = nil
	return j, changes, ok
}

// wholeFinished enters a table's load as done: from the mark's position on its changes go on. The lock is held.
func (d *desk) wholeFinished(t *table.Table) {
	w := d.wholes[t]
	w.loaded = true
	d.asked.done(w.requests)
	w.requests = nil
}

// loadAgain has a table without key loaded once more, and answers the request of that offset with it. One that is under way will do: its rows
// are emitted behind everything that whoever asks can have seen. Until then its changes go on to the lanes as before. The lock is held.
func (d *desk) loadAgain(offset int64, t *table.Table) {
	w := d.wholes[t]
	w.requests = append(w.requests, offset)
	d.asked.outstanding = append(d.asked.outstanding, outstanding{offset: offset})
	d.plan.Void(t.Name)
	d.wake()
}

// emitWhole puts a table without key into the lanes, as it is here. Behind an error the life ends: what was emitted of it is void.
func (l *loop) emitWhole(ctx context.Context, j *job, later []*change.Change, ok bool, p *passing) error {
	defer j.whole.Close()
	if !ok {
		j.end(verdict{again: againPassed})
		return nil
	}
	if err := l.put(ctx, &change.Change{Table: j.table, Op: change.Truncate}); err != nil {
		return err
	}
	rows, bytes := 0, int64(0)
	err := j.whole.Rows(ctx, func(row change.Row, size int) error {
		rows, bytes = rows+1, bytes+int64(size)
		return l.put(ctx, &change.Change{Table: j.table, Op: change.Read, After: row})
	})
	if err != nil {
		return fmt.Errorf("load %s: %w", j.table.Name, err)
	}
	for _, c := range later {
		if err := l.put(ctx, c); err != nil {
			return err
		}
	}
	if load, ok := l.desk.finish(j); ok {
		p.loads = append(p.loads, load)
	}
	p.tell = append(p.tell, func() { j.end(verdict{emitted: rows}) })
	l.metrics.read(j.table, rows, bytes)
	return nil
}

// readWhole tries to load a table without key until it is in the lanes.
func (w *workers) readWhole(ctx context.Context, j *job) error {
	for {
		v, err := w.tryWhole(ctx, j)
		if err != nil || v.again == "" {
			return err
		}
		w.metrics.again(j.table, v.again)
		if err := service.Sleep(ctx, w.backoff(j)); err != nil {
			return err
		}
	}
}

// tryWhole tries it once. An error that may pass is a verdict until there were too many.
func (w *workers) tryWhole(ctx context.Context, j *job) (verdict, error) {
	v, err := w.attemptWhole(ctx, j)
	if err == nil || ctx.Err() != nil {
		return v, err
	}
	if errors.Is(err, pgscan.ErrRewritten) {
		return verdict{again: againRewritten}, nil
	}
	j.failures++
	if fault.ClassOf(err) != fault.ClassTransient || j.failures > w.retries {
		return v, fmt.Errorf("load of %s, try %d: %w", j.name(), j.failures, err)
	}
	w.log.Warn("loading a table without key again", "table", j.name(), "try", j.failures, "error", err.Error())
	return verdict{again: againError}, nil
}

// attemptWhole keeps the order: changes are kept, snapshot, everything that it sees is visible, mark, verdict.
func (w *workers) attemptWhole(ctx context.Context, j *job) (verdict, error) {
	w.desk.collect(j)
	r, err := w.wholes.Open(ctx, j.table)
	if err != nil {
		return verdict{}, err
	}
	err = w.visible(ctx, r.Snapshot())
	if err == nil {
		err = r.Check(ctx)
	}
	if err != nil {
		r.Close()
		return verdict{}, err
	}
	high := w.mark(chunk.MarkHigh)
	w.desk.await(j, r, high.ID)
	if err := w.emitter.Emit(ctx, high); err != nil && w.desk.abandon(j) {
		r.Close()
		return verdict{}, err
	}
	select {
	case v := <-j.done:
		return v, nil
	case <-ctx.Done():
		if w.desk.abandon(j) {
			r.Close()
		}
		return verdict{}, ctx.Err()
	}
}

// visible waits until an ordinary snapshot sees all that the exported one takes for committed. That one goes by the log's commit records, which
// are written a moment before the transaction is marked as committed: a row read in between would seem to be rolled back, and be
// remembered as such.
func (w *workers) visible(ctx context.Context, exported chunk.Snapshot) error {
	for wait := visibleWait; ; wait = min(2*wait, maxWait) {
		now, err := w.clock.Snapshot(ctx)
		if err != nil || now.Includes(exported) {
			return err
		}
		if err := service.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

const visibleWait = time.Millisecond

// wholes opens tables without key on the source.
type wholes struct {
	cfg     *Config
	scanner *pgscan.Scanner
	life    int64
}

// Open makes a temporary slot, takes over its snapshot and lets the slot go.
func (o *wholes) Open(ctx context.Context, t *table.Table) (Whole, error) {
	// One at a time, so that one name will do; another life's may be on its way out.
	slot := o.cfg.Slot[:min(len(o.cfg.Slot), 40)] + "_load_" + strconv.FormatInt(o.life, 10)
	e, drop, err := pgsource.Export(ctx, o.cfg.URL, o.cfg.App, slot)
	if err != nil {
		return nil, err
	}
	defer drop()
	w, err := o.scanner.OpenWhole(ctx, t, e.Name)
	if err != nil {
		return nil, err
	}
	return &exported{Whole: w, point: e.Point}, nil
}

// exported is a table in an exported snapshot.
type exported struct {
	*pgscan.Whole
	point uint64
}

// Point implements Whole.
func (e *exported) Point() uint64 { return e.point }
