package reader

import (
	"context"
	"sync"
	"sync/atomic"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/pgscan"
	"segue/pkg/table"
)

// desk is what the loop and the workers share about chunks: which are asked for, which are under way, what the stream showed of
// their tables meanwhile, and what is finished.
type desk struct {
	windowBytes int
	tables      map[table.Name]*table.Table

	// open is the number of windows, so that the loop need not lock for every change while there is none.
	open atomic.Int32

	shape func(t *table.Table) string // what loads stand for

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when there may be work
	vis     chunk.Visibility
	x0      uint64
	ready   bool // every transaction that this stream does not know of is over
	plan    *chunk.Plan
	loaded  bool
	asked   asked
	parts   []*resync                   // under way, each with a plan of its own
	gone    map[table.Name][]table.Name // by table: heaps that frontiers tell of and that were not there when this life began
	marks   map[string]*job             // by the id of the mark that is expected next
	windows map[*table.Table][]*job
	resting bool                    // the source has other things to do than to be read
	wholes  map[*table.Table]*whole // tables without key; the map itself never changes
}

func newDesk(tables []*table.Table, plan *chunk.Plan, windowBytes int, resumed *frontier.State) *desk {
	d := &desk{
		windowBytes: windowBytes, tables: make(map[table.Name]*table.Table, len(tables)), changed: make(chan struct{}),
		plan: plan, loaded: loadedOnce(plan.Heaps(), resumed) || plan.Complete(), asked: asked{handled: resumed.Requests},
		marks: map[string]*job{}, windows: map[*table.Table][]*job{}, wholes: map[*table.Table]*whole{}, shape: everyColumn,
	}
	for _, t := range tables {
		d.tables[t.Name] = t
	}
	d.openWholes()
	return d
}

// loadedOnce says whether every table was loaded already. It stays so while a partition is read again; a table that was added since
// begins a load.
func loadedOnce(heaps []chunk.Heap, resumed *frontier.State) bool {
	begun := map[table.Name]bool{}
	for _, l := range resumed.Loads {
		begun[l.Table] = begun[l.Table] || !l.Void()
	}
	for i := range heaps { // a partitioned table without partitions has none, and nothing to load
		if !begun[heaps[i].Table.Name] {
			return false
		}
	}
	return resumed.Loaded
}

// wake lets whoever waits for work look again. The lock is held.
func (d *desk) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *desk) selected(n table.Name) bool { return d.tables[n] != nil }

// unread says whether no range of the table was read yet.
func (d *desk) unread(n table.Name) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.plan.Loads() {
		if l.Table == n && (l.Complete || len(l.Done) > 0) {
			return false
		}
	}
	return true
}

// observe shows a change to the windows of its table. The bytes are copied once for all of them.
func (d *desk) observe(c *change.Change) {
	if d.open.Load() == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	jobs := d.windows[c.Table]
	if len(jobs) == 0 {
		return
	}
	kept := chunk.Clone(c)
	for _, j := range jobs {
		j.window.Add(kept)
	}
}

// delivered notes a transaction that the stream has shown up to its commit.
func (d *desk) delivered(xid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.vis.Delivered(xid)
}

// saw takes the newest snapshot of the source.
func (d *desk) saw(s chunk.Snapshot) (ready bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.vis.Saw(s)
	if !d.ready && s.Passed(d.x0) {
		d.ready = true
		d.wake()
	}
	return d.ready
}

// wait holds all chunks back until no transaction from before x0 can become visible any more.
func (d *desk) wait(x0 uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.x0, d.ready = x0, false
}

// rest lets the load wait, or go on.
func (d *desk) rest(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.resting && !yes {
		d.wake()
	}
	d.resting = yes
}

// reading says whether ranges of tables are left to read.
func (d *desk) reading() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.plan.Complete() || len(d.parts) > 0
}

// take returns the next chunk to read: answers to requests first. It waits until there is one.
func (d *desk) take(ctx context.Context) (*job, error) {
	for {
		d.mu.Lock()
		j, changed := d.next(), d.changed
		d.mu.Unlock()
		if j != nil {
			return j, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (d *desk) next() *job {
	if !d.ready {
		return nil
	}
	if t, keys, requests := d.asked.next(); requests != nil {
		n := min(len(keys), maxKeys)
		return &job{table: t, keys: keys[:n:n], rest: keys[n:], requests: requests}
	}
	if d.resting {
		return nil
	}
	for _, r := range d.parts {
		if c, ok := r.plan.Next(); ok {
			c.Where = r.where
			return &job{table: c.Table, chunk: c, part: r}
		}
	}
	if c, ok := d.plan.Next(); ok {
		return &job{table: c.Table, chunk: c}
	}
	if c, ok := d.plan.NextWhole(); ok {
		return &job{table: c.Table, chunk: c}
	}
	return nil
}

// begin enters a try of a chunk: the loop will meet these two marks.
func (d *desk) begin(j *job, low, high string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j.low, j.high = low, high
	j.window, j.started, j.done = nil, make(chan struct{}), make(chan verdict, 1)
	d.marks[low] = j
}

// low opens the window of the chunk whose low watermark passes.
func (d *desk) low(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.marks[id]
	if j == nil {
		return // of an earlier life, or given up
	}
	delete(d.marks, id)
	d.marks[j.high] = j
	j.window = chunk.NewWindow(j.table, d.windowBytes)
	j.unseen = d.vis.Unseen()
	d.windows[j.table] = append(d.windows[j.table], j)
	d.open.Add(1)
	close(j.started)
}

// leave forgets a try. It returns false where the loop has concluded it already. The lock is held.
func (d *desk) leave(j *job) bool {
	if d.marks[j.low] != j && d.marks[j.high] != j {
		return false
	}
	delete(d.marks, j.low)
	delete(d.marks, j.high)
	list := d.windows[j.table]
	for i, o := range list {
		if o == j {
			d.windows[j.table] = append(list[:i:i], list[i+1:]...)
			d.open.Add(-1)
			break
		}
	}
	return true
}

// abandon gives a try up; false where the loop was faster, and its verdict waits.
func (d *desk) abandon(j *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leave(j)
}

// emission is a chunk as it is at its high watermark.
type emission struct {
	job   *job
	table *table.Table
	rows  []change.Row
	gone  []change.Row
	bytes int64
	large map[string]int64 // see pgscan.Result
}

// high closes the window of the chunk whose high watermark passes. Nil: there is nothing to emit; the worker was told why.
func (d *desk) high(id string) *emission {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.marks[id]
	if j == nil || id != j.high {
		return nil
	}
	d.leave(j)
	switch {
	case !j.unseen.SeenBy(j.result.Snapshot):
		j.end(verdict{again: againInvisible})
		return nil
	case j.window.Overflowed():
		j.end(verdict{again: againOverflow})
		return nil
	}
	e := &emission{job: j, table: j.table, bytes: j.result.Bytes, large: j.result.Large}
	if j.keys == nil {
		e.rows = j.window.Rows(j.result.Snapshot, j.result.Rows)
		return e
	}
	answer, ok := j.window.Keys(j.result.Snapshot, j.keys, j.result.Rows)
	if !ok {
		j.end(verdict{again: againMoved})
		return nil
	}
	e.rows, e.gone = answer.Rows, answer.Gone
	return e
}

// found enters what a chunk's read brought: the high watermark comes after it.
func (d *desk) found(j *job, r pgscan.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j.result = r
}

// answer enters a piece of keys as read; with the last one its requests are answered. The lock is held.
func (d *desk) answer(j *job) {
	if len(j.rest) == 0 {
		d.asked.done(j.requests)
	}
	d.wake()
}

// leaveOut is answer for a key that cannot be read.
func (d *desk) leaveOut(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer(j)
}

// finish enters a chunk as done, now that its rows are on their way, and returns what the next boundary cut tells of it.
func (d *desk) finish(j *job) (frontier.Load, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j.keys != nil {
		d.answer(j)
		return frontier.Load{}, false
	}
	if len(j.lines) > 0 {
		return frontier.Load{}, false // a piece of a block: the range is done with the last one
	}
	if j.part != nil {
		d.finishPart(j)
		return frontier.Load{}, false
	}
	load, ok := d.plan.Finish(j.chunk)
	if j.chunk.Whole {
		d.wholeFinished(j.table)
	}
	load.Shape = d.shape(j.table)
	d.loaded = d.loaded || d.plan.Complete()
	d.wake()
	return load, ok
}

// state is what every cut says: the offset past the last handled request, and whether all tables are loaded.
func (d *desk) state() (handled int64, loaded bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked.handled, d.loaded
}

// with runs a change of the plan under the lock.
func (d *desk) with(do func(p *chunk.Plan)) { d.within(nil, do) }

// request takes a request in, and waits while too many keys are asked for already.
func (d *desk) request(ctx context.Context, offset int64, t *table.Table, keys []change.Row) error {
	for {
		d.mu.Lock()
		full, changed := d.asked.keys > maxAsked, d.changed
		if !full && len(keys) > 0 && t.Keyless() {
			d.loadAgain(offset, t)
		} else if !full {
			d.asked.enter(offset, t, keys)
			d.wake()
		}
		d.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
