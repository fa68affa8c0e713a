package reader_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/table"
	"segue/pkg/wire"
	"segue/services/reader"
)

const (
	migration     = "test"
	frontierTopic = "test.reader.frontier"
	requestsTopic = "test.requests"
	markPrefix    = "segue:test"
	partitions    = 3
)

// harness is a source, a broker, a registry, the reader in between, and a model of the target behind.
type harness struct {
	t     *testing.T
	url   string
	conn  *pgx.Conn // for the test's own statements
	names []table.Name
	kafka kafka.Config
	fake  *kafkatest.Cluster
	reg   *wire.Confluent
	slot  string
	cfg   func(*reader.Config)

	around func(context.Context, func(context.Context) error) error // what runs a life; nil: nothing in between

	logs    *logs
	metrics *prometheus.Registry // may be nil
	revive  bool                 // a life that ends for a transient reason is followed by the next

	killed atomic.Bool // the present life's writer is dead
	stop   context.CancelFunc
	ended  chan error
	last   *reader.Reader
}

func newHarness(t *testing.T, url string, tables []string, statements ...string) *harness {
	t.Helper()
	broker := kafkatest.Fake(t)
	registry := srfake.New()
	t.Cleanup(registry.Close)
	reg, err := wire.NewRegistry(wire.RegistryConfig{URL: registry.URL()})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{
		t: t, url: url, conn: pgtest.Connect(t, url), kafka: kafka.Config{Brokers: broker.Brokers(), ClientID: "test"}, fake: broker, reg: reg,
		slot: "segue_test_" + strings.ToLower(rand.Text()), logs: &logs{},
		cfg: func(*reader.Config) {},
	}
	pgtest.Exec(t, h.conn, statements...)
	topics := []kafka.Topic{{Name: frontierTopic, Partitions: 1}, {Name: requestsTopic, Partitions: 1}}
	for _, n := range tables {
		name := table.Name{Schema: "public", Table: n}
		h.names = append(h.names, name)
		topics = append(topics, kafka.Topic{Name: rawTopic(name.Topic()), Partitions: partitions})
	}
	admin, err := kafka.OpenAdmin(h.kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.EnsureTopics(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.kill() })
	return h
}

func rawTopic(tableTopic string) string { return migration + ".raw." + tableTopic }

// start begins a life of the reader.
func (h *harness) start() {
	h.t.Helper()
	h.killed.Store(false)
	cfg := reader.Config{
		URL: h.url, App: "test", Slot: h.slot, Publication: h.slot, MarkPrefix: markPrefix, Tables: h.names, Partitions: partitions,
		Workers: 3, ChunkBytes: 2 * chunk.BlockBytes, Heartbeat: 100 * time.Millisecond,
	}
	h.cfg(&cfg)
	deps := reader.Deps{Peek: h.peek, OpenWriter: h.openWriter, Encoders: h.encoders, OpenRequests: h.openRequests, Log: slog.New(h.logs)}
	if h.metrics != nil {
		deps.Metrics = h.metrics
	}
	r := reader.New(cfg, deps)
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan error, 1)
	run := h.around
	if run == nil {
		run = func(ctx context.Context, run func(context.Context) error) error { return run(ctx) }
	}
	go func() {
		err := run(ctx, r.Run)
		for h.revive && err != nil && fault.ClassOf(err) == fault.ClassTransient && ctx.Err() == nil { // as the group of a process does
			err = run(ctx, r.Run)
		}
		ended <- err
	}()
	h.stop, h.ended, h.last = cancel, ended, r
}

// kill ends the life without letting anything in flight be finished.
func (h *harness) kill() {
	if h.stop == nil {
		return
	}
	h.killed.Store(true)
	h.stop()
	<-h.ended
	h.stop = nil
}

// end waits for the life to end by itself.
func (h *harness) end() error {
	h.t.Helper()
	select {
	case err := <-h.ended:
		h.stop()
		h.stop = nil
		return err
	case <-time.After(20 * time.Second):
		h.t.Fatal("the reader does not end")
		return nil
	}
}

func (h *harness) openWriter(ctx context.Context, lanes []frontier.Lane) (reader.Writer, error) {
	w, err := kafka.OpenWriter(ctx, kafka.WriterConfig{
		Kafka: h.kafka, Stage: "reader", Owner: "test", Fingerprint: "f", Upstream: -1, FrontierTopic: frontierTopic,
		LaneTopic: rawTopic, Lanes: lanes, Codec: h.frontiers(), Compression: kafka.Uncompressed,
	})
	if err != nil {
		return nil, err
	}
	return &mortal{Writer: w, killed: &h.killed}, nil
}

func (h *harness) peek(ctx context.Context) (frontier.State, error) {
	standing, err := kafka.Latest(ctx, h.kafka, h.frontiers(), frontierTopic)
	return standing.State, err
}

// claims is where the claim in force stands: it grows with each.
func (h *harness) claims() int64 {
	h.t.Helper()
	standing, err := kafka.Latest(h.t.Context(), h.kafka, h.frontiers(), frontierTopic)
	if err != nil {
		h.t.Fatal(err)
	}
	return standing.Claim
}

// mortal is a writer that a killed process leaves behind: nothing more is cut, nothing is waited for.
type mortal struct {
	*kafka.Writer
	killed *atomic.Bool
}

var errKilled = errors.New("killed")

func (m *mortal) Cut(ctx context.Context, c frontier.Cut, must bool) error {
	if m.killed.Load() {
		return errKilled
	}
	return m.Writer.Cut(ctx, c, must)
}

func (m *mortal) Close(ctx context.Context) error {
	if m.killed.Load() {
		dead, cancel := context.WithCancel(ctx)
		cancel()
		_ = m.Writer.Close(dead)
		return nil
	}
	return m.Writer.Close(ctx)
}

func (h *harness) frontiers() *wire.Frontiers {
	h.t.Helper()
	f, err := wire.NewFrontiers(h.t.Context(), h.reg, frontierTopic)
	if err != nil {
		h.t.Fatal(err)
	}
	return f
}

func (h *harness) encoders(ctx context.Context, _ pgsource.Identity, tables []*table.Table) ([]reader.Encoder, error) {
	var out []reader.Encoder
	for _, t := range tables {
		c, err := wire.NewRaw(ctx, h.reg, rawTopic(t.Name.Topic()), t, wire.Source{Migration: migration})
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

type requests struct {
	*kafka.Items
	codec *wire.Requests
}

func (h *harness) openRequests(ctx context.Context, from int64) (reader.Requests, error) {
	codec, err := wire.NewRequests(ctx, h.reg, requestsTopic)
	if err != nil {
		return nil, err
	}
	items, err := kafka.OpenItems(h.kafka, requestsTopic, from)
	return &requests{Items: items, codec: codec}, err
}

func (r *requests) Next(ctx context.Context) (int64, request.Request, error) {
	item, err := r.Items.Next(ctx)
	if err != nil {
		return 0, request.Request{}, err
	}
	q, err := r.codec.DecodeRequest(item.Value)
	return item.Offset, q, err
}

// mark writes somebody else's watermark into the log.
func (h *harness) mark(kind, id string) {
	h.t.Helper()
	m := chunk.Mark{Kind: kind, ID: id, Writer: "reconciler:test"}
	if _, err := pgsource.Emit(h.t.Context(), h.conn, markPrefix, []byte(m.String())); err != nil {
		h.t.Fatal(err)
	}
}

// target is a model of everything behind the raw topics: it merges batches, applies them, asks for what it cannot know.
type target struct {
	h      *harness
	source *kafka.Reader
	codecs []*wire.Raw
	ask    *kafka.Requests
	asks   *wire.Requests

	rows    map[string]map[string]change.Row // by table, by key
	pending map[string]map[string]change.Row // asked keys
	lots    map[string]map[string]int        // of tables without key: how many of each row, by table
	base    *checkpoint
	at      change.Position
	loaded  bool
	seen    map[change.Op]int
	asked   int
	handled int64
	claims  int // writers met
	// requested is how many requests are in the topic.
	requested int64
	marks     []frontier.Mark
	loads     int // batches that finished chunks

	lsn      uint64 // of the last change
	repeated int    // changes of a place in the log that was passed before
}

type checkpoint struct {
	rows, pending map[string]map[string]change.Row
	lots          map[string]map[string]int
}

func (h *harness) target() *target {
	h.t.Helper()
	tables, err := postgres.Tables(h.t.Context(), h.conn, h.names)
	if err != nil {
		h.t.Fatal(err)
	}
	x := &target{
		h: h, rows: map[string]map[string]change.Row{}, pending: map[string]map[string]change.Row{}, seen: map[change.Op]int{},
		lots: map[string]map[string]int{},
	}
	var lanes []frontier.Lane
	for _, t := range tables {
		c, err := wire.NewRaw(h.t.Context(), h.reg, rawTopic(t.Name.Topic()), t, wire.Source{Migration: migration})
		if err != nil {
			h.t.Fatal(err)
		}
		for p := range int32(partitions) {
			lanes = append(lanes, frontier.Lane{Table: t.Name.Topic(), Partition: p})
			x.codecs = append(x.codecs, c)
		}
		x.rows[t.Name.Table], x.pending[t.Name.Table] = map[string]change.Row{}, map[string]change.Row{}
	}
	x.source, err = kafka.OpenReader(h.t.Context(), kafka.ReaderConfig{
		Kafka: h.kafka, FrontierTopic: frontierTopic, LaneTopic: rawTopic, Lanes: lanes, Codec: h.frontiers(),
		From: frontier.Cursor{Offset: -1, Incarnation: -1},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(x.source.Close)
	if x.ask, err = kafka.OpenRequests(h.kafka, requestsTopic); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(x.ask.Close)
	if x.asks, err = wire.NewRequests(h.t.Context(), h.reg, requestsTopic); err != nil {
		h.t.Fatal(err)
	}
	x.save()
	return x
}

func (x *target) save() {
	x.base = &checkpoint{rows: deep(x.rows), pending: deep(x.pending), lots: deep(x.lots)}
}

func deep[V any](m map[string]map[string]V) map[string]map[string]V {
	out := make(map[string]map[string]V, len(m))
	for k, v := range m {
		out[k] = maps.Clone(v)
	}
	return out
}

// step takes the next event.
func (x *target) step(ctx context.Context) error {
	e, err := x.source.Next(ctx)
	if err != nil {
		return err
	}
	if e.Claim != nil {
		x.claims++
		x.rows, x.pending, x.lots = deep(x.base.rows), deep(x.base.pending), deep(x.base.lots)
		return nil
	}
	f := e.Batch.Frontier
	wants := map[string][]change.Row{}
	for _, m := range e.Batch.Changes {
		var c change.Change
		if err := x.codecs[m.Lane].Decode(m.Value, &c); err != nil {
			return err
		}
		if !x.at.Before(m.Pos) {
			return fmt.Errorf("%s comes after %s", m.Pos, x.at)
		}
		x.at = m.Pos
		if m.Pos.LSN < x.lsn {
			x.repeated++
		}
		x.lsn = m.Pos.LSN
		x.seen[c.Op]++
		if err := x.apply(&c, wants); err != nil {
			return fmt.Errorf("%s: %w", m.Pos, err)
		}
	}
	if x.at.Before(f.At) {
		x.at = f.At
	}
	if !f.Boundary {
		return x.request(ctx, wants)
	}
	x.loaded, x.handled = f.Loaded, f.Requests
	x.marks = append(x.marks, f.Marks...)
	if len(f.Loads) > 0 {
		x.loads++
	}
	if err := x.request(ctx, wants); err != nil {
		return err
	}
	x.save()
	return nil
}

// request asks for keys, acknowledged before the batch counts.
func (x *target) request(ctx context.Context, wants map[string][]change.Row) error {
	for name, keys := range wants {
		b, err := x.asks.EncodeRequest(request.Request{ID: "r", Kind: request.Keys, Table: table.Name{Schema: "public", Table: name}, Keys: keys})
		if err != nil {
			return err
		}
		if err := x.ask.Produce(ctx, b); err != nil {
			return err
		}
		x.requested++
		x.asked += len(keys)
	}
	return nil
}

// version is the column by which the tests see a row move back in time.
const version = "v"

func (x *target) apply(c *change.Change, wants map[string][]change.Row) error {
	if c.Table.Keyless() {
		return x.applyKeyless(c)
	}
	name := c.Table.Name.Table
	rows, pending := x.rows[name], x.pending[name]
	key := func(r change.Row) string { return string(r.AppendKey(nil, c.Table.Key)) }
	switch c.Op {
	case change.Truncate:
		clear(rows)
		clear(pending)
		return nil
	case change.Delete:
		delete(rows, key(c.Before))
		delete(pending, key(c.Before))
		return nil
	case change.Insert, change.Read, change.Update:
	}
	from, to := key(c.Key()), key(c.After)
	old := rows[from]
	next := slices.Clone(c.After)
	for i := range next {
		if next[i].IsAbsent() && old != nil {
			next[i] = old[i]
		}
	}
	if err := forward(c, old, next); err != nil {
		return err
	}
	for _, k := range []string{from, to} {
		delete(rows, k)
		delete(pending, k)
	}
	if c.Older { // its table is read again
		rows[to] = next
		return nil
	}
	if !slices.ContainsFunc(c.Table.Columns, func(col table.Column) bool {
		return !col.Generated && next[c.Table.Column(col.Name)].IsAbsent()
	}) {
		rows[to] = next
		return nil
	}
	k := make(change.Row, len(c.Table.Key))
	for i, at := range c.Table.Key {
		k[i] = c.After[at]
	}
	pending[to] = k
	wants[name] = append(wants[name], k)
	return nil
}

// forward wants a row's version never to fall.
func forward(c *change.Change, old, next change.Row) error {
	at := c.Table.Column(version)
	if at < 0 || old == nil || old[at].IsAbsent() {
		return nil
	}
	was, _ := strconv.Atoi(string(old[at].Bytes()))
	is, _ := strconv.Atoi(string(next[at].Bytes()))
	if is < was {
		return fmt.Errorf("%s moves a row of %s back from version %d to %d", c.Op, c.Table.Name, was, is)
	}
	return nil
}

// until takes events until the condition holds at a boundary.
func (x *target) until(what string, done func() bool) {
	x.h.t.Helper()
	ctx, cancel := context.WithTimeout(x.h.t.Context(), 60*time.Second)
	defer cancel()
	for !done() {
		if err := x.step(ctx); err != nil {
			select {
			case over := <-x.h.ended:
				x.h.t.Logf("the reader ended: %v", over)
				x.h.ended <- over
			default:
			}
			x.h.t.Fatalf("waiting for %s: %v (at %s, loaded %v, pending %d, asked %d, handled %d, seen %v)\n%s",
				what, err, x.at, x.loaded, x.waiting(), x.asked, x.handled, x.seen, x.h.logs)
		}
	}
}

func (x *target) waiting() (n int) {
	for _, p := range x.pending {
		n += len(p)
	}
	return n
}

// settle lets everything come through and wants the target to be the source: at a mark behind the last change, with all tables loaded and
// nothing pending.
func (x *target) settle() {
	x.h.t.Helper()
	// The slot must be there before the mark is written.
	x.until("a frontier", func() bool { return !x.at.Zero() })
	for n := 0; ; n++ {
		id := "settle" + strconv.Itoa(n) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
		x.h.mark(chunk.MarkHigh, id)
		x.until("mark "+id, func() bool {
			return slices.ContainsFunc(x.marks, func(m frontier.Mark) bool { return m.ID == id })
		})
		if x.loaded && x.waiting() == 0 {
			break
		}
	}
	x.equal()
}

// equal compares with the source as it is now, which nobody changes any more.
func (x *target) equal() {
	x.h.t.Helper()
	for i, n := range x.h.names {
		tbl := x.codecs[i*partitions].Table()
		want := x.h.stored(tbl)
		if tbl.Keyless() {
			x.equalLots(tbl, want)
			continue
		}
		got := map[string]string{}
		for _, r := range x.rows[n.Table] {
			got[text(tbl, r)] = ""
		}
		for _, r := range want {
			if _, ok := got[r]; !ok {
				x.h.t.Errorf("%s: a row of the source is missing or different at the target: %.60s", n, r)
			}
			delete(got, r)
		}
		for r := range got {
			x.h.t.Errorf("%s: the target has a row that the source has not: %.60s", n, r)
		}
	}
}

func text(t *table.Table, r change.Row) string {
	var f []string
	for i := range t.Columns {
		if t.Columns[i].Generated {
			continue
		}
		if r[i].IsNull() {
			f = append(f, "NULL")
			continue
		}
		f = append(f, string(r[i].Bytes()))
	}
	return strings.Join(f, "|")
}

func (h *harness) stored(t *table.Table) []string {
	h.t.Helper()
	var cols []string
	for _, c := range t.Columns {
		if !c.Generated {
			cols = append(cols, "coalesce("+table.Quote(c.Name)+"::text, 'NULL')")
		}
	}
	rows, err := h.conn.Query(h.t.Context(), "SELECT concat_ws('|', "+strings.Join(cols, ", ")+") FROM "+t.Name.SQL())
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// logs keeps what the reader says, to be shown when a test fails and to be waited for.
type logs struct {
	mu    sync.Mutex
	lines []string
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.lines = append(l.lines, line)
	return nil
}

func (l *logs) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logs) WithGroup(string) slog.Handler      { return l }

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func (l *logs) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}
