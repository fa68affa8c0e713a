package reader

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// parts are what a session is made of: real ones, or a test's.
type parts struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	tables   []*table.Table
	stream   Stream
	writer   Writer
	encoders []Encoder
	scanner  Scanner
	clock    Clock
	emitter  Emitter
	busy     func(ctx context.Context) (postgres.Busy, error)
	wholes   Wholes
	slot     func(ctx context.Context) (pgsource.SlotState, error)
	identity pgsource.Identity
	// published says what is wrong with the publication, nil where nothing is.
	published func(ctx context.Context) error
	// describe tells what a relation of the log is, encode compiles an encoder for it.
	describe func(ctx context.Context, r *pgsource.Relation) (*table.Table, error)
	encode   func(ctx context.Context, t *table.Table) (Encoder, error)
	resumed  frontier.State
	voided   []frontier.Load
	opened   uint64
	epoch    uint32
}

// tellGone names partitions that were read and are gone, or were emptied, since a frontier told of them: the log does not tell of their rows. It
// is the same that stops a running reader; a start goes on, because nothing else would.
func (p *parts) tellGone(heaps []chunk.Heap) {
	for _, l := range p.resumed.Loads {
		i := slices.IndexFunc(heaps, func(h chunk.Heap) bool { return h.Leaf == l.Leaf && h.Table.Name == l.Table })
		root := slices.ContainsFunc(p.tables, func(t *table.Table) bool { return t.Name == l.Table && t.Partitioned })
		if root && len(l.Done) > 0 && (i < 0 || heaps[i].Filenode != l.Filenode) {
			p.log.Warn("a partition is gone or was rewritten since it was read: the target may keep rows that the source lost",
				"partition", l.Leaf.String(), "table", l.Table.String(), "go_on", "segue resync --table "+shell(l.Table))
		}
	}
}

// gone lists the heaps of selected tables that frontiers tell of and that are not there any more, by table, and the loads that end what was
// begun of them: of one that is gone nothing is left to read, and a table with an open load counts as being read. Should one come back,
// its file is none that was read.
func (p *parts) gone(heaps []chunk.Heap) (gone map[table.Name][]table.Name, over []frontier.Load) {
	gone = map[table.Name][]table.Name{}
	for _, l := range slices.Concat(slices.Collect(maps.Values(p.resumed.Loads)), p.voided) {
		there := slices.ContainsFunc(heaps, func(h chunk.Heap) bool { return h.Leaf == l.Leaf && h.Table.Name == l.Table })
		selected := slices.ContainsFunc(p.tables, func(t *table.Table) bool { return t.Name == l.Table && t.Partitioned })
		if there || !selected {
			continue
		}
		gone[l.Table] = append(gone[l.Table], l.Leaf)
		if !l.Complete {
			l.Complete, l.Filenode = true, 0
			over = append(over, l)
		}
	}
	return gone, over
}

// windowBytes bounds a window. It takes a few of the largest changes that the lanes take: else none of them could pass while a chunk is read.
func (p *parts) windowBytes() int {
	most := p.cfg.WindowBytes
	for i := range p.tables {
		most = max(most, 4*p.writer.Room(i*int(p.cfg.Partitions)))
	}
	return most
}

// into assembles the session. The slot is held, so the transaction id that it takes is younger than everything that the stream does not
// deliver.
func (p *parts) into(ctx context.Context, s *session) error {
	heaps, err := p.scanner.Heaps(ctx, p.tables)
	if err != nil {
		return err
	}
	p.voided = append(p.voided, p.otherShapes(heaps)...)
	loads := slices.Collect(maps.Values(p.resumed.Loads))
	p.tellGone(heaps)
	gone, over := p.gone(heaps)
	plan := chunk.NewPlan(heaps, loads, p.cfg.ChunkBytes)
	if p.resumed.Offset < 0 {
		plan.Fresh()
	}
	s.desk = newDesk(p.tables, plan, p.windowBytes(), &p.resumed)
	s.desk.gone = gone
	s.strain = &strain{
		desk: s.desk, busy: p.busy, sessions: p.cfg.ActiveSessions, lag: p.cfg.StandbyLag, log: p.log, metrics: p.metrics,
	}
	s.desk.shape = p.cfg.Shape
	x0, err := p.clock.CurrentXID(ctx)
	if err != nil {
		return err
	}
	s.desk.wait(x0)
	s.loop = &loop{
		stream: p.stream, writer: p.writer, lanes: newLanes(p.writer, p.tables, p.encoders, p.cfg.Partitions), desk: s.desk,
		log: p.log, metrics: p.metrics, epoch: p.epoch, source: history(&p.identity), resumed: p.resumed.At, prefix: p.cfg.MarkPrefix,
		ignores: p.cfg.ignores, uses: p.cfg.Uses, confirm: p.resumed.Confirm, committed: p.resumed.Committed,
		voided: slices.Concat(p.voided, over), opened: p.opened, slot: p.cfg.Slot,
		describe: p.describe, encode: p.encode, loads: p.resumed.Loads,
	}
	s.loop.heard.Store(time.Now().UnixNano())
	s.workers = &workers{
		desk: s.desk, scanner: p.scanner, emitter: p.emitter, wholes: p.wholes, clock: p.clock, log: p.log, metrics: p.metrics,
		throttle: newThrottle(p.cfg.RowsPerSecond, p.cfg.BytesPerSecond),
		life:     p.writer.Incarnation(), limit: 4 * p.cfg.ChunkBytes, step: p.cfg.ChunkBytes, retries: p.cfg.Retries,
	}
	s.poller = &poller{
		desk: s.desk, clock: p.clock, scanner: p.scanner, emitter: p.emitter, slot: p.slot, name: p.cfg.Slot, identity: p.identity, published: p.published, log: p.log, metrics: p.metrics,
		heard:  func() time.Time { return unixNano(s.loop.heard.Load()) },
		tables: p.tables, beat: heartbeatMark(life(p.writer.Incarnation())), heartbeat: p.cfg.Heartbeat, progress: s.progress, every: p.cfg.CatalogEvery,
	}
	return nil
}
