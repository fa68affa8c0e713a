package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/reconcile"
	"segue/pkg/table"
)

// follower follows the stream of changes: it knows which keys were touched, and which marks have passed.
type follower struct {
	source  frontier.Source[change.Change]
	feeds   map[table.Name][]feed
	convert *pgx.Conn // a connection to the target of its own

	mu      sync.Mutex
	touched *reconcile.Touched
	marks   map[string]change.Position
	reading map[string]map[table.Name]bool // by mark: tables of which rows are still being read
	err     error
	moved   chan struct{} // closed and made anew when marks or err change
}

// feed is what a source table feeds through one rule: a unit, or the segments of one table in their order.
type feed struct {
	units  []*unit
	feeder *feeder
}

// maxMarks bounds the marks that are remembered: other processes may compare at the same time.
const maxMarks = 256

func newFollower(source frontier.Source[change.Change], units []*unit, convert *pgx.Conn, limit int) *follower {
	f := &follower{
		source: source, convert: convert, feeds: map[table.Name][]feed{},
		touched: reconcile.NewTouched(limit), marks: map[string]change.Position{}, moved: make(chan struct{}),
		reading: map[string]map[table.Name]bool{},
	}
	for _, u := range units {
		for _, feeder := range u.feeders {
			feeds := f.feeds[feeder.source.Name]
			i := slices.IndexFunc(feeds, func(known feed) bool { return known.feeder == feeder })
			if i < 0 {
				i, feeds = len(feeds), append(feeds, feed{feeder: feeder})
			}
			feeds[i].units = append(feeds[i].units, u)
			f.feeds[feeder.source.Name] = feeds
		}
	}
	return f
}

// run follows the stream until the context ends. Claims need no care: what they take back was noted as touched, which
// costs at most another round.
func (f *follower) run(ctx context.Context) {
	var batches []*frontier.Batch[change.Change]
	for {
		event, err := f.source.Next(ctx)
		if err == nil && event.Batch != nil {
			f.open(event.Batch)
			batches = append(batches, event.Batch)
		}
		// On a backlog several batches are noted at once: converting their keys is a round trip to the target.
		if err == nil && len(batches) < maxBatches && f.source.Ready() {
			continue
		}
		if err == nil {
			err = f.take(ctx, batches)
			batches = nil
		}
		if err != nil {
			f.note(func() { f.err = fmt.Errorf("follow the stream: %w", err) })
			return
		}
	}
}

// maxBatches bounds how many batches are noted at once.
const maxBatches = 200

func (f *follower) note(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.moved)
	f.moved = make(chan struct{})
}

func (f *follower) take(ctx context.Context, batches []*frontier.Batch[change.Change]) error {
	var all []noted
	var marks []*frontier.Frontier
	for _, b := range batches {
		all = append(all, f.notes(b.Changes)...)
		if len(b.Frontier.Marks) > 0 {
			marks = append(marks, b.Frontier)
		}
	}
	if err := f.convertKeys(ctx, all); err != nil {
		return err
	}
	f.mu.Lock()
	for i := range all {
		all[i].add(f.touched)
	}
	f.mu.Unlock()
	if len(marks) > 0 {
		f.note(func() { f.pass(marks) })
	}
	return nil
}

func (f *follower) pass(marks []*frontier.Frontier) {
	if len(f.marks) > maxMarks {
		clear(f.marks)
	}
	for _, at := range marks {
		for _, m := range at.Marks {
			f.marks[m.ID] = at.At
		}
	}
}

// noted is what one change touched of one unit: some keys, or all of them where nobody knows which.
type noted struct {
	to      feed
	xid     uint32
	all     bool
	keys    []change.Row
	sources []reconcile.SourceKey
}

// notes leaves reads out: they bring the target to what the source is anyway.
func (f *follower) notes(changes []change.Change) []noted {
	var out []noted
	for i := range changes {
		c := &changes[i]
		if c.Op == change.Read {
			continue
		}
		for _, to := range f.feeds[c.Table.Name] {
			n := noted{to: to, xid: c.Tx.XID, all: true}
			if keys, known := to.feeder.touches(c); known {
				n.all, n.keys, n.sources = false, keys, to.feeder.sourceKeys(c)
			}
			out = append(out, n)
		}
	}
	return out
}

// convertKeys gives the keys the texts that the target has for them, all of a feeder's at once.
func (f *follower) convertKeys(ctx context.Context, all []noted) error {
	rows := map[*feeder][]change.Row{}
	for _, n := range all {
		if n.to.feeder.keys.Needed() {
			rows[n.to.feeder] = append(rows[n.to.feeder], n.keys...)
		}
	}
	for feeder, keys := range rows {
		if err := feeder.keys.Convert(ctx, f.convert, keys); err != nil {
			return err
		}
	}
	return nil
}

func (n *noted) add(t *reconcile.Touched) {
	if n.all {
		for _, u := range n.to.units {
			t.AddAll(u.index, n.xid)
		}
	}
	for _, key := range n.keys {
		text := n.to.feeder.keyText(key)
		for _, source := range n.sources {
			t.Add(find(n.to.units, key).index, text, source, n.xid)
		}
	}
}

// touches lists the target keys that a change touched, before and after; false where that cannot be told.
func (f *feeder) touches(c *change.Change) ([]change.Row, bool) {
	if c.Op == change.Truncate {
		return nil, false
	}
	if f.shape.Lots {
		rows, err := f.rule.Touched(c)
		for i := range rows {
			rows[i] = slices.Clone(rows[i]) // both may share values, and are converted in place
		}
		return rows, err == nil
	}
	if !f.keyed {
		return f.mapped(c)
	}
	var keys []change.Row
	for _, row := range []change.Row{c.Before, c.After} {
		if row == nil {
			continue
		}
		key := make(change.Row, len(f.key))
		for i, o := range f.key {
			key[i] = row[o]
		}
		if !key.Whole() {
			return nil, false
		}
		keys = append(keys, key)
	}
	return keys, true
}

// keyText is what a target key, or of a table without key a whole row, is called among the touched ones.
func (f *feeder) keyText(key change.Row) []byte {
	if f.shape.Lots {
		text, _ := reconcile.AppendLot(nil, key)
		return text
	}
	return reconcile.AppendCanonical(nil, key)
}

// mapped asks the rule which target keys a change touched.
func (f *feeder) mapped(c *change.Change) ([]change.Row, bool) {
	var m change.Mapped
	if err := f.rule.Map(c, &m); err != nil || m.Want != nil {
		return nil, false
	}
	var keys []change.Row
	for i := range m.Ops {
		op := &m.Ops[i]
		if op.Key != nil {
			keys = append(keys, slices.Clone(op.Key))
		}
		if op.Row != nil {
			keys = append(keys, f.rule.Key(op.Row))
		}
	}
	return keys, len(keys) > 0
}

// sourceKeys identify the source row before and after a change; what cannot be told is left out, for a keyed feeder
// never.
func (f *feeder) sourceKeys(c *change.Change) []reconcile.SourceKey {
	var out []reconcile.SourceKey
	for _, row := range []change.Row{c.Before, c.After} {
		if row == nil {
			continue
		}
		key := make(change.Row, len(f.source.Key))
		for i, o := range f.source.Key {
			key[i] = row[o]
		}
		if s := (reconcile.SourceKey{Feeder: f.index, Text: string(reconcile.AppendCanonical(nil, key))}); len(out) == 0 || out[0] != s {
			out = append(out, s)
		}
	}
	return out
}

// loads is a source that knows how far each heap was read, at the last frontier that it has handed out.
type loads interface{ State() frontier.State }

// open notes, for the marks of the batch that was handed out just now, the tables of which not every heap is read there.
func (f *follower) open(b *frontier.Batch[change.Change]) {
	known, ok := f.source.(loads)
	if !ok || len(b.Frontier.Marks) == 0 {
		return
	}
	tables := map[table.Name]bool{}
	for _, l := range known.State().Loads {
		if !l.Complete {
			tables[l.Table] = true
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.reading) > maxMarks {
		clear(f.reading)
	}
	for _, m := range b.Frontier.Marks {
		f.reading[m.ID] = tables
	}
}

// beingRead lists the tables of which rows were still being read at a mark.
func (f *follower) beingRead(mark string) map[table.Name]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reading[mark]
}

// await waits until the stream has passed a mark and returns the position of the frontier there.
func (f *follower) await(ctx context.Context, mark string) (change.Position, error) {
	for {
		f.mu.Lock()
		at, ok := f.marks[mark]
		err, moved := f.err, f.moved
		f.mu.Unlock()
		switch {
		case ok:
			return at, nil
		case err != nil:
			return change.Position{}, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return change.Position{}, fault.Transient(errors.New("the watermark has not come through the stream: is the reader running?"))
		}
	}
}

// failed is the reason for which the stream is followed no more, if so.
func (f *follower) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// prune forgets what the floor sees.
func (f *follower) prune(floor chunk.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touched.Prune(floor)
}

func (f *follower) view(u *unit) reconcile.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.touched.View(u.index)
}
