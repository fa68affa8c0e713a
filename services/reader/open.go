package reader

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/pgscan"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// open goes from nothing to a session, in the order that matters: a comparison that changes nothing, publication, slot, stream, and only
// then the claim.
func (r *Reader) open(ctx context.Context) (_ *session, err error) {
	s := &session{cfg: r.cfg, log: r.log}
	defer func() {
		for i := len(s.release) - 1; err != nil && i >= 0; i-- {
			s.release[i]()
		}
	}()
	o := &opening{Reader: r, s: s}
	if err := o.source(ctx); err != nil {
		return nil, err
	}
	if err := o.compare(ctx); err != nil {
		return nil, err
	}
	if err := o.slot(ctx); err != nil {
		return nil, err
	}
	if err := o.claim(ctx); err != nil {
		return nil, err
	}
	if err := o.mend(ctx); err != nil {
		return nil, err
	}
	if err := o.assemble(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// opening is a session while it is being opened.
type opening struct {
	*Reader
	s *session

	pool     *pgxpool.Pool
	identity pgsource.Identity
	scanner  *pgscan.Scanner
	tables   []*table.Table
	created  bool
	gaps     []table.Name // what the slot's publication did not publish whole when this life began
	state    pgsource.SlotState
	stream   *pgsource.Stream
	writer   Writer
	resumed  frontier.State
	epoch    uint32
	voided   []frontier.Load // what a new history takes back
}

// source connects, and finds out whom it talks to and what the tables look like.
func (o *opening) source(ctx context.Context) (err error) {
	o.pool, err = postgres.NewPool(ctx, o.cfg.URL, o.cfg.App, int32(o.cfg.Workers)+4)
	if err != nil {
		return err
	}
	o.s.release = append(o.s.release, o.pool.Close)
	if o.identity, err = pgsource.Introduce(ctx, o.cfg.URL, o.cfg.App); err != nil {
		return err
	}
	if o.identity.Recovery {
		return standby(o.identity.Database)
	}
	if o.tables, err = postgres.Tables(ctx, o.pool, o.cfg.Tables); err != nil {
		return err
	}
	if err := asPlanned(o.cfg.Planned, o.tables, o.cfg.ignores); err != nil {
		return err
	}
	o.scanner = pgscan.New(o.pool, o.identity.SystemID)
	o.scanner.Conditions = o.cfg.Conditions
	restricted, err := o.scanner.Restricted(ctx, o.tables)
	if err != nil {
		return err
	}
	return unusable(o.tables, restricted)
}

// slot makes publication and slot, and takes the slot.
func (o *opening) slot(ctx context.Context) error {
	conn, err := postgres.Connect(ctx, o.cfg.URL, o.cfg.App)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	app := o.cfg.App
	if o.cfg.Displace != "" {
		app = o.cfg.Displace
		ended, err := pgsource.Displace(ctx, conn, o.cfg.Slot, app)
		if err != nil {
			return err
		}
		if ended {
			o.log.Info("took the slot from the former reader, which still held it", "slot", o.cfg.Slot)
		}
	}
	if err := o.setup(ctx, conn); err != nil {
		return err
	}
	// From the slot's confirmed position on: transactions that a frontier holds already are skipped by their position.
	o.stream, err = pgsource.OpenStream(ctx, pgsource.StreamConfig{
		URL: o.cfg.URL, App: app, Slot: o.cfg.Slot, Publication: o.cfg.Publication, Shapes: o.tables,
	})
	if err != nil {
		return pgsource.WithHolder(ctx, conn, o.cfg.Slot, err)
	}
	o.s.release = append(o.s.release, o.stream.Close)
	// Now that nobody else can confirm any more.
	o.state, err = pgsource.Inspect(ctx, conn, o.cfg.Slot)
	return err
}

// setup makes publication and slot. A publication that must be mended under a slot that is there waits until the frontiers were looked
// at: what it left out meanwhile may be what they count on, and nothing would show it afterwards.
func (o *opening) setup(ctx context.Context, conn *pgx.Conn) error {
	was, err := pgsource.Inspect(ctx, conn, o.cfg.Slot)
	if err != nil {
		return err
	}
	if was.WALStatus == "lost" && o.cfg.NewHistory {
		o.log.Warn("the slot is lost, making it again", "slot", o.cfg.Slot, "confirmed", pgsource.LSN(was.ConfirmedLSN).String())
		if err := pgsource.DropSlot(ctx, conn, o.cfg.Slot); err != nil {
			return err
		}
		was.Exists = false
	}
	if was.Exists {
		if o.gaps, err = o.lookForGaps(ctx); err != nil || len(o.gaps) > 0 {
			return err
		}
	}
	return o.ensure(ctx, conn)
}

func (o *opening) lookForGaps(ctx context.Context) ([]table.Name, error) {
	return pgsource.Gaps(ctx, o.pool, o.cfg.Publication, o.tables)
}

func (o *opening) ensure(ctx context.Context, conn *pgx.Conn) error {
	state, err := pgsource.Ensure(ctx, conn, pgsource.Setup{Slot: o.cfg.Slot, Publication: o.cfg.Publication, Tables: o.cfg.Tables})
	o.created = state.Created
	return err
}

// mend brings the publication in line once the frontiers were looked at. Its new tables are in the stream from here on.
func (o *opening) mend(ctx context.Context) error {
	if len(o.gaps) == 0 {
		return nil
	}
	return o.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return o.ensure(ctx, c.Conn()) })
}

// claim opens the writer and compares where Kafka and the slot stand.
func (o *opening) claim(ctx context.Context) (err error) {
	if o.writer, err = o.deps.OpenWriter(ctx, laneList(o.tables, o.cfg.Partitions)); err != nil {
		return err
	}
	o.s.release = append(o.s.release, func() { o.letGo() })
	o.resumed = o.writer.Resumed()
	o.epoch = max(1, o.resumed.At.Epoch)
	if o.resumed.Offset < 0 {
		return nil
	}
	o.voided = o.left()
	promoted, err := o.continues()
	if err == nil && promoted {
		o.epoch++
		o.log.Warn("a standby of the source was promoted, and has everything that Kafka holds: going on in a new epoch, nothing is read again",
			"timeline", o.identity.Timeline, "fork", pgsource.LSN(o.identity.Fork()).String(), "confirmed", pgsource.LSN(o.resumed.Confirm).String(), "epoch", o.epoch)
	}
	if err == nil || !o.cfg.NewHistory {
		return err
	}
	o.log.Warn("a new history begins: every table is read again", "reason", err.Error(),
		"behind", "rows that the source lost meanwhile stay on the target until: segue resync --table '*.*' --differences")
	o.epoch++
	o.voided = voided(&o.resumed)
	o.resumed.Loads, o.resumed.Loaded, o.resumed.At = nil, false, change.Position{}
	o.resumed.Confirm = 0
	return nil
}

// voided takes the loads of the former history back. Kafka has to be told: a life that is cut short would leave them to the next one,
// which finds nothing to read.
func voided(was *frontier.State) []frontier.Load {
	var out []frontier.Load
	for _, l := range was.Loads {
		out = append(out, frontier.Load{Table: l.Table, Leaf: l.Leaf})
	}
	return out
}

// left are the loads of tables that are no longer taken. What changes in them from here on is in no stream, so what was read of them counts
// for nothing should they be taken again.
func (o *opening) left() (out []frontier.Load) {
	told := map[table.Name]bool{}
	for _, l := range o.resumed.Loads {
		if slices.ContainsFunc(o.tables, func(t *table.Table) bool { return t.Name == l.Table }) || l.Void() {
			continue
		}
		out = append(out, frontier.Load{Table: l.Table, Leaf: l.Leaf})
		if !told[l.Table] {
			o.log.Warn("a table is no longer taken: its rows on the target stay as they are; should it be taken again, it is read from the start", "table", l.Table.String())
		}
		told[l.Table] = true
	}
	return append(out, o.neverRead()...)
}

// neverRead are tables of which frontiers know lanes and no load, and that are no longer taken: they went before anything of them was read.
func (o *opening) neverRead() (out []frontier.Load) {
	known := map[string]bool{}
	for _, t := range o.tables {
		known[t.Name.Topic()] = true
	}
	for _, l := range o.resumed.Loads {
		known[l.Table.Topic()] = true
	}
	for _, lane := range o.resumed.LaneList() {
		if name, ok := table.FromTopic(lane.Table); ok && !known[lane.Table] {
			out = append(out, frontier.Load{Table: name, Leaf: name})
		}
		known[lane.Table] = true
	}
	return out
}

// followed are those of the tables that the frontiers tell of.
func followed(resumed *frontier.State, names []table.Name) []table.Name {
	var out []table.Name
	for _, n := range names {
		known := false
		for _, l := range resumed.Loads {
			known = known || l.Table == n && (l.Complete || len(l.Done) > 0)
		}
		for lane, end := range resumed.Lanes {
			known = known || lane.Table == n.Topic() && end.Total > 0 && !resumed.Left(lane.Table)
		}
		if known {
			out = append(out, n)
		}
	}
	return out
}

func (o *opening) letGo() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := o.writer.Close(ctx); err != nil {
		o.log.Warn("closing the writer", "error", err.Error())
	}
}

// assemble plans the load and puts the parts together.
func (o *opening) assemble(ctx context.Context) error {
	encoders, err := o.deps.Encoders(ctx, o.identity, o.tables)
	if err != nil {
		return err
	}
	o.scanner.Largest = largest(o.writer, o.tables, o.cfg.Partitions)
	emitter := &emitter{pool: o.pool, prefix: o.cfg.MarkPrefix}
	parts := parts{
		cfg: o.cfg, log: o.log, metrics: o.metrics, tables: o.tables,
		stream: o.stream, writer: o.writer, encoders: encoders, scanner: o.scanner, clock: o.scanner, emitter: emitter,
		resumed: o.resumed, voided: o.voided, opened: o.identity.LSN, epoch: o.epoch, identity: o.identity,
		busy:   func(ctx context.Context) (postgres.Busy, error) { return postgres.ReadBusy(ctx, o.pool) },
		wholes: &wholes{cfg: &o.cfg, scanner: o.scanner, life: o.writer.Incarnation()},
		slot: func(ctx context.Context) (pgsource.SlotState, error) {
			return pgsource.Inspect(ctx, o.pool, o.cfg.Slot)
		},
		describe: func(ctx context.Context, r *pgsource.Relation) (*table.Table, error) { return describe(ctx, o.pool, r) },
		encode: func(ctx context.Context, t *table.Table) (Encoder, error) {
			list, err := o.deps.Encoders(ctx, o.identity, []*table.Table{t})
			if err != nil {
				return nil, err
			}
			return list[0], nil
		},
		published: func(ctx context.Context) error {
			now, err := postgres.Tables(ctx, o.pool, o.cfg.Tables)
			if err != nil {
				return err
			}
			if err := asPlanned(o.tables, now, o.cfg.ignores); err != nil {
				return err
			}
			gaps, err := pgsource.Gaps(ctx, o.pool, o.cfg.Publication, o.tables)
			if err != nil || len(gaps) == 0 {
				return err
			}
			return unpublished(o.cfg.Publication, gaps)
		},
	}
	if err := parts.into(ctx, o.s); err != nil {
		return err
	}
	if o.deps.OpenRequests == nil {
		return nil
	}
	if o.s.requests, err = o.deps.OpenRequests(ctx, o.resumed.Requests); err != nil {
		return err
	}
	o.s.release = append(o.s.release, o.s.requests.Close)
	return nil
}

// emitter writes marks through the pool.
type emitter struct {
	pool   *pgxpool.Pool
	prefix string
}

// Emit writes a mark.
func (e *emitter) Emit(ctx context.Context, m chunk.Mark) error {
	err := e.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		_, err := pgsource.Emit(ctx, conn(c), e.prefix, []byte(m.String()))
		return err
	})
	if err != nil {
		return fmt.Errorf("mark %s: %w", m.Kind, postgres.Safe(err))
	}
	return nil
}

func conn(c *pgxpool.Conn) *pgx.Conn { return c.Conn() }

// life is the incarnation as text.
func life(incarnation int64) string { return strconv.FormatInt(incarnation, 10) }

func unixNano(ns int64) time.Time { return time.Unix(0, ns) }
