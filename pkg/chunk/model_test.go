package chunk_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
)

// rules switches single rules off, to show that the model finds what each is for. The zero value is the design.
type rules struct {
	readBeforeLow  bool // 1: the low watermark is written after the read
	noWait         bool // 1: the read does not wait until the stream met the low watermark
	noLock         bool // 2: no lock before the snapshot
	noFilenode     bool // 2: the filenode is not compared
	highBeforeRead bool // 3: the high watermark is written before the read
	noOverlay      bool // 3: the rows are emitted as they were read
	overlayAll     bool // 3: changes that the snapshot contains are applied once more
	noUnseen       bool // 4: invisible commits before the low watermark go unnoticed
	lateUnseen     bool // 4: asked at the end, when newer snapshots made Visibility forget
	noX0           bool // 4: chunks are read although older transactions may still become visible
	noGone         bool // 5: keys that are not found come to nothing
	goneAsRead     bool // 5: keys that were not found are deletes whatever the window says
}

type modelChunk struct {
	c      chunk.Chunk
	keys   []string // a list of keys instead of a range
	step   int
	seen   bool // the stream met the low watermark
	window *chunk.Window
	unseen chunk.Unseen
	locked bool
	snap   chunk.Snapshot
	rows   []change.Row
}

// run is one history: source, stream, reader and target.
type run struct {
	*source
	rules rules

	pos    int // delivered so far: an index into wal
	vis    chunk.Visibility
	plan   *chunk.Plan
	x0     uint64
	chunks []*modelChunk

	rowsAt  map[string]change.Row // the target
	pending map[string]bool       // keys asked for
	saved   *checkpoint
	retries int
}

type checkpoint struct {
	pos     int
	loads   []frontier.Load
	rowsAt  map[string]change.Row
	pending map[string]bool
}

// simulate runs one random history to its end and returns the first broken promise.
func simulate(seed uint64, off rules) error {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &run{source: newSource(r), rules: off, rowsAt: map[string]change.Row{}, pending: map[string]bool{}}
	for range 30 {
		m.step()
	}
	m.cold()
	// The slot begins here: what is in the log already is never delivered.
	m.pos = len(m.wal)
	m.save(nil)
	m.restart()
	for range 250 {
		if err := m.act(); err != nil {
			return err
		}
	}
	return m.finish()
}

// cold inserts rows that nothing but a chunk ever tells of.
func (m *run) cold() {
	t := m.begin()
	for i := range 5 {
		m.do(t, modelOp{op: change.Insert, key: fmt.Sprintf("cold%d", i), row: modelRow{a: m.value(), toast: m.value(), block: m.r.Uint32N(12)}})
	}
	m.commit(t)
	m.show(t)
}

func (m *run) save(loads []frontier.Load) {
	m.saved = &checkpoint{pos: m.pos, loads: loads, rowsAt: maps.Clone(m.rowsAt), pending: maps.Clone(m.pending)}
}

// restart loses everything since the checkpoint.
func (m *run) restart() {
	for _, c := range m.chunks {
		if c.locked {
			m.readers--
		}
	}
	m.chunks, m.vis = nil, chunk.Visibility{}
	m.pos, m.rowsAt, m.pending = m.saved.pos, maps.Clone(m.saved.rowsAt), maps.Clone(m.saved.pending)
	m.plan = chunk.NewPlan([]chunk.Heap{m.heapNow()}, m.saved.loads, 2*chunk.BlockBytes)
	t := m.begin()
	m.x0 = t.xid
	m.show(t)
}

func (m *run) heapNow() chunk.Heap {
	return chunk.Heap{Table: modelTable, Leaf: modelTable.Name, Filenode: m.filenodeNow(), Blocks: 8, Bytes: 8 * chunk.BlockBytes}
}

// filenodeNow is what the catalog shows: an exclusive transaction that is not visible yet has changed nothing.
func (m *run) filenodeNow() uint32 {
	if m.exclusive() {
		return m.filenode - 1
	}
	return m.filenode
}

func (m *run) act() error {
	switch n := m.r.IntN(100); {
	case n < 45:
		m.step()
	case n < 65:
		return m.deliver()
	case n < 70:
		m.vis.Saw(m.snapshot())
	case n < 71:
		m.restart()
	case n < 73:
		m.save(m.plan.Loads())
	case n < 74:
		m.pending[m.anyKey()] = true // somebody asks for a key that may or may not be there
	default:
		m.chunkStep()
	}
	return nil
}

func (m *run) chunkStep() {
	if !m.rules.noX0 && !m.snapshot().Passed(m.x0) {
		return
	}
	if len(m.chunks) < 3 && m.r.IntN(3) == 0 {
		m.open()
	}
	if len(m.chunks) > 0 {
		m.advance(m.chunks[m.r.IntN(len(m.chunks))])
	}
}

func (m *run) open() {
	asked := map[string]bool{}
	for _, c := range m.chunks {
		for _, k := range c.keys {
			asked[k] = true
		}
	}
	var keys []string
	for k := range m.pending {
		if !asked[k] {
			keys = append(keys, k)
		}
	}
	if len(keys) > 0 {
		slices.Sort(keys)
		m.chunks = append(m.chunks, &modelChunk{keys: keys})
		return
	}
	if c, ok := m.plan.Next(); ok {
		m.chunks = append(m.chunks, &modelChunk{c: c})
	}
}

func (m *run) mark(c *modelChunk, high bool) {
	t := m.begin()
	t.mark = &modelMark{c: c, high: high}
	m.commit(t)
	m.show(t)
}

// advance does the next step of a chunk: low, wait, lock and compare, snapshot, read, high.
func (m *run) advance(c *modelChunk) {
	switch c.step {
	case 0:
		if !m.rules.readBeforeLow {
			m.mark(c, false)
		}
	case 1:
		if !c.seen && !m.rules.noWait && !m.rules.readBeforeLow {
			return
		}
	case 2:
		if !m.rules.noLock {
			if m.exclusive() {
				return
			}
			c.locked = true
			m.readers++
		}
		if c.keys == nil && !m.rules.noFilenode && m.filenodeNow() != c.c.Filenode {
			m.rewritten(c)
			return
		}
	case 3:
		if m.rules.highBeforeRead {
			m.mark(c, true)
		}
		c.snap = m.snapshot()
	case 4:
		m.read(c)
	case 5:
		if m.rules.readBeforeLow {
			m.mark(c, false)
		}
		if !m.rules.highBeforeRead {
			m.mark(c, true)
		}
	case 6:
		return
	}
	c.step++
}

func (m *run) rewritten(c *modelChunk) {
	m.drop(c)
	if m.plan.Loads()[0].Filenode == c.c.Filenode {
		m.plan.Restart(m.heapNow())
	}
}

func (m *run) drop(c *modelChunk) {
	if c.locked {
		c.locked = false
		m.readers--
	}
	m.chunks = slices.DeleteFunc(m.chunks, func(o *modelChunk) bool { return o == c })
}

func (m *run) read(c *modelChunk) {
	rows := m.heap(c.snap)
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		r := rows[k]
		inRange := c.keys == nil && r.block >= c.c.Range.From && (r.block < c.c.Range.To || c.c.Open)
		if inRange || slices.Contains(c.keys, k) {
			c.rows = append(c.rows, toRow(k, r))
		}
	}
	if c.locked {
		c.locked = false
		m.readers--
	}
}

// deliver hands the next committed transaction of the log to the reader, and what comes of it to the target.
func (m *run) deliver() error {
	if m.pos == len(m.wal) {
		return nil
	}
	t := m.wal[m.pos]
	m.pos++
	for _, op := range t.ops {
		c := op.event(t)
		if c == nil {
			continue
		}
		for _, k := range m.chunks {
			if k.window != nil {
				k.window.Add(chunk.Clone(c))
			}
		}
		m.take(c)
	}
	m.vis.Delivered(uint32(t.xid))
	if t.mark != nil && slices.Contains(m.chunks, t.mark.c) {
		m.passed(t.mark)
	}
	return m.check(t.lsn)
}

func (m *run) passed(k *modelMark) {
	c := k.c
	if !k.high {
		c.seen = true
		c.window = chunk.NewWindow(modelTable, 1<<20)
		c.unseen = m.vis.Unseen()
		return
	}
	unseen := c.unseen
	if m.rules.lateUnseen {
		unseen = m.vis.Unseen()
	}
	if m.rules.highBeforeRead && c.step < 5 {
		// The stream stands still here until the read is done.
		for range 3 {
			m.step()
		}
		c.rows, c.snap = nil, m.snapshot()
		m.read(c)
	}
	if c.window == nil || !m.rules.noUnseen && !unseen.SeenBy(c.snap) && !m.rules.lateUnseen {
		m.again(c)
		return
	}
	if m.rules.lateUnseen && !lateSees(c, unseen) {
		m.again(c)
		return
	}
	m.emit(c)
}

// lateSees is rule 4 with the mistake of keeping one shared set: what a newer snapshot made it forget is not asked about.
func lateSees(c *modelChunk, now chunk.Unseen) bool {
	return c.unseen.SeenBy(c.snap) || now.SeenBy(c.snap)
}

func (m *run) again(c *modelChunk) {
	m.retries++
	m.drop(c)
	if c.keys == nil {
		m.plan.Again(c.c, m.r.IntN(2) == 0)
	}
}

func (m *run) emit(c *modelChunk) {
	if c.keys != nil {
		m.emitKeys(c)
		return
	}
	rows := c.rows
	switch {
	case m.rules.noOverlay:
	case m.rules.overlayAll:
		rows = c.window.Rows(chunk.Snapshot{}, rows)
	default:
		rows = c.window.Rows(c.snap, rows)
	}
	m.drop(c)
	if _, ok := m.plan.Finish(c.c); !ok {
		return
	}
	for _, r := range rows {
		m.take(&change.Change{Table: modelTable, Op: change.Read, After: r})
	}
}

func (m *run) emitKeys(c *modelChunk) {
	var asked []change.Row
	for _, k := range c.keys {
		asked = append(asked, change.Row{change.String(k), change.Absent(), change.Absent()})
	}
	out, ok := c.window.Keys(c.snap, asked, c.rows)
	if m.rules.goneAsRead {
		ok = true
		out.Gone = slices.DeleteFunc(asked, func(k change.Row) bool {
			return slices.ContainsFunc(c.rows, func(r change.Row) bool { return r[0].Equal(k[0]) })
		})
	}
	if !ok {
		m.again(c)
		return
	}
	m.drop(c)
	for _, r := range out.Rows {
		m.take(&change.Change{Table: modelTable, Op: change.Read, After: r})
	}
	if m.rules.noGone {
		return
	}
	for _, r := range out.Gone {
		m.take(&change.Change{Table: modelTable, Op: change.Delete, Before: r})
	}
}

// take is the target: it applies one change, and asks for the row where a change alone does not say enough.
func (m *run) take(c *change.Change) {
	switch c.Op {
	case change.Truncate:
		clear(m.rowsAt)
		clear(m.pending)
	case change.Delete:
		k := string(c.Before[0].Bytes())
		delete(m.rowsAt, k)
		delete(m.pending, k)
	case change.Insert, change.Read:
		k := string(c.After[0].Bytes())
		m.rowsAt[k] = c.After
		delete(m.pending, k)
	case change.Update:
		m.takeUpdate(c)
	}
}

func (m *run) takeUpdate(c *change.Change) {
	from, to := string(c.Key()[0].Bytes()), string(c.After[0].Bytes())
	row, there := m.rowsAt[from]
	delete(m.rowsAt, from)
	delete(m.pending, from)
	delete(m.pending, to)
	next := slices.Clone(c.After)
	if next[2].IsAbsent() && there {
		next[2] = row[2]
	}
	if next.Whole() {
		m.rowsAt[to] = next
		return
	}
	delete(m.rowsAt, to)
	m.pending[to] = true
}

// check holds the target against the source's state at the same position: every row that is there is the right one.
func (m *run) check(lsn uint64) error {
	truth := m.truth(lsn)
	for k, r := range m.rowsAt {
		want, ok := truth[k]
		if !ok {
			return fmt.Errorf("at %d the target has %s, the source has not", lsn, k)
		}
		if !slices.EqualFunc(r, toRow(k, want), change.Value.Equal) {
			return fmt.Errorf("at %d %s is (%s, %s), want %v", lsn, k, r[1].Bytes(), r[2].Bytes(), want)
		}
	}
	return nil
}

// finish lets everything run out and wants the target to be the source.
func (m *run) finish() error {
	for range 3000 {
		m.settle()
		m.chunkStep()
		for range 3 {
			if err := m.deliver(); err != nil {
				return err
			}
		}
		if m.plan.Complete() && len(m.pending) == 0 && m.pos == len(m.wal) {
			return m.equal()
		}
	}
	return fmt.Errorf("never complete: %d chunks out, %d keys pending", len(m.chunks), len(m.pending))
}

func (m *run) equal() error {
	for k, want := range m.truth(1 << 62) {
		r, ok := m.rowsAt[k]
		if !ok {
			return fmt.Errorf("at the end %s is missing", k)
		}
		if !slices.EqualFunc(r, toRow(k, want), change.Value.Equal) {
			return fmt.Errorf("at the end %s differs", k)
		}
	}
	return nil
}

func TestChunksNeverMoveARowBack(t *testing.T) {
	n := uint64(3000)
	if testing.Short() {
		n = 300
	}
	for seed := range n {
		if err := simulate(seed, rules{}); err != nil {
			t.Fatalf("history %d: %v", seed, err)
		}
	}
}

// TestModelFindsEveryMissingRule switches each rule off: a model that does not notice proves nothing.
func TestModelFindsEveryMissingRule(t *testing.T) {
	for name, off := range map[string]rules{
		"1 low watermark after the read":       {readBeforeLow: true},
		"1 no wait for the low watermark":      {noWait: true},
		"2 no lock":                            {noLock: true},
		"2 no filenode":                        {noFilenode: true},
		"3 high watermark before the read":     {highBeforeRead: true},
		"3 no overlay":                         {noOverlay: true},
		"3 overlay of visible changes":         {overlayAll: true},
		"4 no look at invisible commits":       {noUnseen: true},
		"4 one shared set of unseen commits":   {lateUnseen: true},
		"4 no wait for older transactions":     {noX0: true},
		"5 nothing for a missing key":          {noGone: true},
		"5 a delete for a key that came after": {goneAsRead: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20000) {
				if err := simulate(seed, off); err != nil {
					t.Logf("history %d: %v", seed, err)
					return
				}
			}
			t.Error("the model does not notice that this rule is off")
		})
	}
}
