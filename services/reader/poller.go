package reader

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/pgsource"
	"segue/pkg/service"
	"segue/pkg/table"
)

// The poller's intervals.
const (
	snapshotEvery = time.Second
	// silence is how long nothing may come back of what was written into the log until somebody is told.
	silence = 30 * time.Second
)

// poller asks the source about itself.
type poller struct {
	desk    *desk
	clock   Clock
	scanner Scanner
	emitter Emitter
	slot    func(ctx context.Context) (pgsource.SlotState, error)
	name    string // the slot's
	// identity is the source's as this life began.
	identity pgsource.Identity
	// published says what is wrong with the publication, nil where nothing is: the stream does not tell that it leaves something out.
	published func(ctx context.Context) error
	heard     func() time.Time // when the loop last met a commit
	log       *slog.Logger
	metrics   *metrics

	every     time.Duration // between two looks at the catalog
	tables    []*table.Table
	beat      chunk.Mark
	heartbeat time.Duration
	progress  func() map[string]Progress
}

// snapshots gives the desk a snapshot a second, more often until chunks may begin.
func (p *poller) snapshots(ctx context.Context) error {
	told := false
	for {
		s, err := p.clock.Snapshot(ctx)
		if err != nil {
			return err
		}
		ready := p.desk.saw(s)
		p.metrics.waiting.Set(0)
		every := snapshotEvery
		if !ready {
			every = snapshotEvery / 20
			p.metrics.waiting.Set(1)
			if !told {
				p.log.Info("chunks wait until transactions that are older than the stream have ended")
			}
			told = true
		}
		if err := service.Sleep(ctx, every); err != nil {
			return err
		}
	}
}

// beats writes into a log in which nothing came, so that there is a position to put a frontier at.
func (p *poller) beats(ctx context.Context) error {
	sent := time.Now()
	told := sent
	for {
		if quiet := time.Since(p.heard()); quiet > silence && time.Since(told) > silence {
			told = time.Now()
			p.log.Warn("nothing comes of what is written into the source's log: its sender stands still or works on one very large transaction, or Kafka takes nothing",
				"for", quiet.Round(time.Second).String())
		}
		idle := p.heartbeat - time.Since(later(p.heard(), sent))
		if idle > 0 {
			if err := service.Sleep(ctx, idle); err != nil {
				return err
			}
			continue
		}
		sent = time.Now()
		if err := p.emit(ctx); err != nil {
			return err
		}
	}
}

// emit writes one heartbeat. A server that accepts it and never answers is an error that is told, too.
func (p *poller) emit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	return p.emitter.Emit(ctx, p.beat)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// watch looks at the slot, and at the partitions, whose changes no log tells.
func (p *poller) watch(ctx context.Context) error {
	looked := time.Now()
	for {
		s, err := p.slot(ctx)
		if err != nil {
			return err
		}
		if err := stillOurs(&s, &p.identity, p.name); err != nil {
			return err
		}
		p.metrics.slot(&s)
		p.metrics.load(p.progress())
		if s.WALStatus == "unreserved" {
			p.log.Warn("the slot is about to be lost: the source keeps less log than it needs", "retained_bytes", s.RetainedBytes)
		}
		if time.Since(looked) >= p.every {
			looked = time.Now()
			if err := p.published(ctx); err != nil {
				return err
			}
			if err := p.heaps(ctx); err != nil {
				return err
			}
		}
		if err := service.Sleep(ctx, snapshotEvery); err != nil {
			return err
		}
	}
}

// heaps compares the partitions with the planned ones. A new one is loaded as the others were; one that is gone, or was rewritten or
// truncated, stops the reader: the log does not tell of its rows.
func (p *poller) heaps(ctx context.Context) error {
	now, err := p.scanner.Heaps(ctx, partitioned(p.tables))
	if err != nil {
		return err
	}
	found := make(map[table.Name]chunk.Heap, len(now))
	for _, h := range now {
		found[h.Leaf] = h
	}
	var planned []chunk.Heap
	p.desk.with(func(pl *chunk.Plan) { planned = pl.Heaps() })
	for _, h := range planned {
		if h.Leaf == h.Table.Name {
			continue
		}
		is, ok := found[h.Leaf]
		if !ok {
			return partitionGone(h.Table.Name, h.Leaf, "detached or dropped")
		}
		if is.Filenode != h.Filenode {
			return partitionGone(h.Table.Name, h.Leaf, "rewritten or truncated")
		}
		delete(found, h.Leaf)
	}
	return p.add(ctx, found)
}

// add plans partitions that came. What was committed to one before it was attached is in no stream: chunks wait once more.
func (p *poller) add(ctx context.Context, found map[table.Name]chunk.Heap) error {
	if len(found) == 0 {
		return nil
	}
	x0, err := p.clock.CurrentXID(ctx)
	if err != nil {
		return err
	}
	p.desk.wait(x0)
	for _, h := range found {
		p.log.Info("a partition came, reading it", "partition", h.Leaf.String(), "table", h.Table.Name.String())
		p.desk.with(func(pl *chunk.Plan) { pl.Add(h, nil) })
	}
	return nil
}

func partitioned(tables []*table.Table) []*table.Table {
	var out []*table.Table
	for _, t := range tables {
		if t.Partitioned {
			out = append(out, t)
		}
	}
	return out
}

// patiently runs a part of the poller through short outages: its connection comes back or the stream's loss ends the life.
func patiently(ctx context.Context, log *slog.Logger, what string, run func(context.Context) error) error {
	for wait := minWait; ; wait = min(2*wait, maxWait) {
		err := run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if fault.ClassOf(err) != fault.ClassTransient || errors.Is(err, errOver) {
			return err
		}
		log.Warn("asking the source again", "what", what, "error", err.Error())
		if err := service.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}
