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
	slot     func(ctx context.Context) (pgsource.SlotState, error)
	// published says what is wrong with the publication, nil where nothing is.
	published func(ctx context.Context) error
	resumed   frontier.State
	voided    []frontier.Load
	opened    uint64
	epoch     uint32
	source    string
}

// into assembles the session. The slot is held, so the transaction id that it takes is younger than everything that the stream does not
// deliver.
func (p *parts) into(ctx context.Context, s *session) error {
	heaps, err := p.scanner.Heaps(ctx, p.tables)
	if err != nil {
		return err
	}
	loads := slices.Collect(maps.Values(p.resumed.Loads))
	s.desk = newDesk(p.tables, chunk.NewPlan(heaps, loads, p.cfg.ChunkBytes), p.cfg.WindowBytes, &p.resumed)
	x0, err := p.clock.CurrentXID(ctx)
	if err != nil {
		return err
	}
	s.desk.wait(x0)
	s.loop = &loop{
		stream: p.stream, writer: p.writer, lanes: newLanes(p.writer, p.tables, p.encoders, p.cfg.Partitions), desk: s.desk,
		log: p.log, metrics: p.metrics, epoch: p.epoch, source: p.source, resumed: p.resumed.At, prefix: p.cfg.MarkPrefix,
		ignore: p.cfg.IgnoreSchemaChanges, confirm: p.resumed.Confirm, committed: p.resumed.Committed,
		voided: p.voided, opened: p.opened, slot: p.cfg.Slot,
	}
	s.loop.heard.Store(time.Now().UnixNano())
	s.workers = &workers{
		desk: s.desk, scanner: p.scanner, emitter: p.emitter, log: p.log, metrics: p.metrics,
		throttle: newThrottle(p.cfg.RowsPerSecond, p.cfg.BytesPerSecond),
		life:     p.writer.Incarnation(), limit: 4 * p.cfg.ChunkBytes, step: p.cfg.ChunkBytes, retries: p.cfg.Retries,
	}
	s.poller = &poller{
		desk: s.desk, clock: p.clock, scanner: p.scanner, emitter: p.emitter, slot: p.slot, published: p.published, log: p.log, metrics: p.metrics,
		heard:  func() time.Time { return unixNano(s.loop.heard.Load()) },
		tables: p.tables, beat: heartbeatMark(life(p.writer.Incarnation())), heartbeat: p.cfg.Heartbeat, progress: s.progress,
	}
	return nil
}
