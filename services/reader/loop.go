package reader

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/pgsource"
	"segue/pkg/table"
)

// Inside a large transaction a place to cut is offered this often; the writer takes what its pace asks for.
const (
	innerChanges = 2000
	innerBytes   = 1 << 20
)

// emptyEvery paces the cuts behind transactions without a selected change.
const emptyEvery = 200 * time.Millisecond

// loop turns the stream's events into changes and cuts. It is one goroutine's.
type loop struct {
	stream  Stream
	writer  Writer
	lanes   *lanes
	desk    *desk
	log     *slog.Logger
	metrics *metrics

	epoch   uint32
	source  string // the history that positions belong to
	resumed change.Position
	prefix  string          // of marks
	voided  []frontier.Load // of a former history, or of another shape: the first boundary takes them back
	opened  uint64          // where the log ended when this life began
	slot    string          // its name

	ignores  func(n table.Name, column string) bool // schema changes
	uses     func(n table.Name, column string) bool
	describe func(ctx context.Context, r *pgsource.Relation) (*table.Table, error)
	encode   func(ctx context.Context, t *table.Table) (Encoder, error)
	loads    map[table.Name]frontier.Load      // that this life found, by leaf
	stale    map[uint32]*pgsource.SchemaChange // by OID: tables whose shape differs in what counts already
	lacking  map[*table.Table]bool             // older shapes whose rows do not hold all that is taken of their table
	again    []table.Name                      // tables of which such rows came: the next boundary takes their loads back

	confirm   uint64       // the end of the last transaction that was cut
	committed int64        // its commit time
	heard     atomic.Int64 // when the last commit came, in nanoseconds since 1970
	offered   time.Time    // when the last boundary was offered

	tx    transaction
	tally tally
}

// transaction is the one under way.
type transaction struct {
	open    bool
	skip    bool // a frontier behind it counts already
	at      change.Position
	tx      change.Tx
	marks   []chunk.Mark
	changes int // since the last offer
	bytes   int
}

func (l *loop) run(ctx context.Context) error {
	for {
		e, err := l.stream.Next(ctx)
		if err != nil {
			return err
		}
		if err := l.event(ctx, &e); err != nil {
			return err
		}
	}
}

func (l *loop) event(ctx context.Context, e *pgsource.Event) error {
	switch e.Kind {
	case pgsource.KindBegin:
		l.begin(&e.Begin)
	case pgsource.KindChange:
		return l.change(ctx, &e.Change)
	case pgsource.KindTruncate:
		return l.truncate(ctx, e.Truncate)
	case pgsource.KindMessage:
		l.message(e.Message)
	case pgsource.KindSchema:
		return l.schema(ctx, e.Schema)
	case pgsource.KindCommit:
		return l.commit(ctx, &e.Commit)
	case pgsource.KindOrigin, pgsource.KindKeepalive:
		// A keepalive's position is for confirming, never for ordering; heartbeats give true ones.
	}
	return nil
}

func (l *loop) begin(b *pgsource.Begin) {
	at := change.Position{Epoch: l.epoch, LSN: b.FinalLSN}
	l.tx = transaction{
		open: true, at: at, marks: l.tx.marks[:0],
		skip: at.LSN <= l.resumed.LSN, // of a former epoch too: a failover goes on in the same log
		tx:   change.Tx{XID: b.XID, Committed: b.CommitTime},
	}
}

func (l *loop) change(ctx context.Context, c *change.Change) error {
	if l.tx.skip {
		return nil
	}
	if s := l.stale[c.Table.OID]; s != nil {
		return l.otherShape(ctx, s)
	}
	if l.lacking[c.Table] {
		l.readAgain(c.Table.Name)
		if c.Table.Keyless() {
			return nil // what it was cannot be found by what is known of it, and the load that comes says all of it
		}
	}
	if c.Table.Keyless() && (slices.Contains(l.again, c.Table.Name) || !l.desk.passes(c, l.tx.at.LSN)) {
		return nil // a load of the table, in this life or the next, has it
	}
	if err := l.put(ctx, c); err != nil {
		return err
	}
	l.desk.observe(c)
	return nil
}

func (l *loop) truncate(ctx context.Context, t *pgsource.Truncate) error {
	for _, tbl := range t.Tables {
		c := &change.Change{Table: tbl, Op: change.Truncate, Cascade: t.Cascade, RestartIdentity: t.RestartIdentity}
		if err := l.change(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// put gives a change its position and sends it off.
func (l *loop) put(ctx context.Context, c *change.Change) error {
	l.tx.at.Seq++
	c.Pos, c.Tx = l.tx.at, l.tx.tx
	size, err := l.lanes.put(ctx, c)
	if err != nil {
		return err
	}
	l.tally.add(c.Op, size)
	if f := c.Fault; f != nil {
		l.metrics.stubs.WithLabelValues(c.Table.Name.String()).Inc()
		l.log.Warn("a row that is too large travels as a stub, the applier sets its key aside",
			"table", c.Table.Name.String(), "position", c.Pos.String(), "bytes", f.Size)
	}
	l.tx.changes++
	l.tx.bytes += size
	if l.tx.changes < innerChanges && l.tx.bytes < innerBytes {
		return nil
	}
	l.tx.changes, l.tx.bytes = 0, 0
	l.metrics.take(&l.tally)
	l.heard.Store(time.Now().UnixNano())
	return l.writer.Cut(ctx, l.cut(false), false)
}

// message notes a mark. Only transactional ones have a place in the order.
func (l *loop) message(m *pgsource.Message) {
	if !m.Transactional || !l.tx.open || m.Prefix != l.prefix {
		return
	}
	mark, err := chunk.ParseMark(m.Content)
	if err != nil {
		l.log.Warn("a message under segue's prefix is not a mark", "position", l.tx.at.String())
		return
	}
	l.tx.marks = append(l.tx.marks, mark)
}

// commit ends the transaction: what its marks stand for is done, and the place is offered as a cut.
func (l *loop) commit(ctx context.Context, c *pgsource.Commit) error {
	l.tx.open = false
	l.desk.delivered(l.tx.tx.XID)
	now := time.Now()
	l.heard.Store(now.UnixNano())
	if l.tx.skip {
		return nil
	}
	p, err := l.passed(ctx)
	if err != nil {
		return err
	}
	l.confirm, l.committed = c.EndLSN, c.CommitTime
	l.metrics.committed(c.CommitTime)
	l.metrics.take(&l.tally)
	if l.tx.at.Seq == 0 && len(l.tx.marks) == 0 && now.Sub(l.offered) < emptyEvery {
		return nil
	}
	again := l.desk.place() // before the cut, which tells that these requests have their place
	cut := l.cut(true)
	cut.Loads, cut.Marks = slices.Concat(l.voided, p.loads, again), p.marks
	l.voided = nil
	l.offered = now
	if err := l.writer.Cut(ctx, cut, len(p.marks) > 0); err != nil {
		return err
	}
	for _, tell := range p.tell {
		tell()
	}
	if len(l.again) > 0 {
		return anew(l.again)
	}
	return nil
}

// passing is what the marks of one commit came to.
type passing struct {
	loads []frontier.Load
	marks []frontier.Mark
	tell  []func() // what is owed to workers once the cut was offered
}

// passed does what the transaction's marks stand for.
func (l *loop) passed(ctx context.Context) (passing, error) {
	var p passing
	for _, m := range l.tx.marks {
		switch {
		case m.Kind == chunk.MarkBeat:
		case !m.Own():
			p.marks = append(p.marks, foreign(m, l.tx.at))
		case m.Kind == chunk.MarkLow:
			l.desk.low(m.ID)
		default:
			if err := l.high(ctx, m.ID, &p); err != nil {
				return p, err
			}
		}
	}
	for i := range p.marks {
		p.marks[i].At = l.tx.at // behind everything in the transaction
	}
	return p, nil
}

// foreign is the frontier's mark for somebody else's watermark.
func foreign(m chunk.Mark, at change.Position) frontier.Mark {
	kind := "low"
	if m.Kind == chunk.MarkHigh {
		kind = "snapshot"
	}
	return frontier.Mark{ID: m.ID, Kind: kind, At: at}
}

// high emits what waits for the mark, if anything does.
func (l *loop) high(ctx context.Context, id string, p *passing) error {
	if j, later, ok := l.desk.wholeAt(id); j != nil {
		return l.emitWhole(ctx, j, later, ok, p)
	}
	return l.emit(ctx, id, p)
}

// emit puts a chunk's rows, as they are here, into the lanes.
func (l *loop) emit(ctx context.Context, id string, p *passing) error {
	e := l.desk.high(id)
	if e == nil {
		return nil
	}
	for _, row := range e.gone {
		if err := l.put(ctx, &change.Change{Table: e.table, Op: change.Delete, Before: row}); err != nil {
			return err
		}
	}
	for _, row := range e.rows {
		if err := l.put(ctx, readOf(e, row)); err != nil {
			return err
		}
	}
	if load, ok := l.desk.finish(e.job); ok {
		p.loads = append(p.loads, load)
	}
	p.tell = append(p.tell, func() { e.job.end(verdict{emitted: len(e.rows)}) })
	l.metrics.read(e.table, len(e.rows), e.bytes)
	return nil
}

// cut describes the present place.
func (l *loop) cut(boundary bool) frontier.Cut {
	handled, loaded := l.desk.state()
	return frontier.Cut{
		At: l.tx.at, Boundary: boundary, Confirm: l.confirm, Requests: handled, Loaded: loaded, Committed: l.committed,
		Source: l.source,
	}
}

// former says whether the rows are of a table that was gone before this life began, while nothing of its successor counts yet that they
// could belong to: of the backlog of a slot behind a new history.
func (l *loop) former(s *pgsource.SchemaChange) bool {
	return l.tx.skip || (l.tx.at.LSN < l.opened && l.desk.unread(s.Name()))
}
