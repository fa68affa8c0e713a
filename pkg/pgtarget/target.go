package pgtarget

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/table"
)

// Asker makes requests durable. Ask returns when they are.
type Asker interface {
	Ask(ctx context.Context, requests []request.Request) error
}

// Config says whose rows go where.
type Config struct {
	URL         string
	App         string // application_name
	Migration   string
	Owner       string // which process, for people; a random part is added
	Mode        Mode
	Fingerprint string // of the mapping that Targets belong to
	Targets     []*change.Target
	// AcceptMapping takes a changed fingerprint: the new mapping holds from here on.
	AcceptMapping bool
	// LockTimeout bounds the wait for a lock that somebody holds on the target; 0: 10 s. Behind it comes a transient
	// error, which people see.
	LockTimeout time.Duration
	Asker       Asker
	Park        Park
	// IndexesAfterLoad drops the secondary indexes of tables that are empty before their load; IndexWorkers of them are made at the same time
	// behind it.
	IndexesAfterLoad bool
	IndexWorkers     int
	// NoOrigin leaves transactions without a replication origin. A server has few places for them.
	NoOrigin bool
}

// Target is the owner of one migration's progress on the target.
type Target struct {
	cfg      Config
	owner    string
	conn     *pgx.Conn
	prepared map[string]bool // statements that this connection knows
	targets  []*target
	tables   []table.Name // that the targets write, each once
	cuts     bool         // some target has a type that cuts values in silence
	shapes   *shapes
	folder   *folder // of Prepare
	halver   *folder // of Apply
	copying  *copying
	buffers  buffers
	progress Progress
	pending  pendingKeys
	parked   parkedKeys
	known    knownRefusals
	tx       transaction
	former   string // the owner that the row named before
	lost     error  // what went with the connection beside the open plan, and nobody was told yet
	notes    []string
	seen     map[int]bool       // target tables that were found as they were, in this plan
	wary     int                // plans that are applied in steps, because some before them held rows that were refused
	stepRows int                // from how many changes on
	aloneBy  map[string]bool    // by constraint or table: whether what it says of a row depends on the row alone
	reloads  map[table.Name]int // by source table without key: how often this process asked for all of it
	stats    Stats
}

// Stats counts since Open.
type Stats struct {
	Transactions int64 // committed
	Halvings     int64 // parts that failed set-wise and were halved or went change by change
	Asked        int64 // rows requested
	Copied       int64 // rows that went in by COPY
}

// Open connects, makes sure of the bookkeeping schema and takes the migration over. From then on an older owner's commit
// fails.
func Open(ctx context.Context, cfg Config) (*Target, error) {
	if cfg.LockTimeout == 0 {
		cfg.LockTimeout = lockTimeout
	}
	cfg.Park = cfg.Park.withDefaults()
	unique := make([]byte, 6)
	_, _ = rand.Read(unique) // never fails
	t := &Target{
		cfg: cfg, owner: cfg.Owner + " " + hex.EncodeToString(unique),
		shapes: &shapes{made: map[string]*shape{}}, copying: newCopying(), reloads: map[table.Name]int{}, aloneBy: map[string]bool{}, stepRows: stepRows,
	}
	if err := t.connect(ctx); err != nil {
		return nil, err
	}
	if err := t.setUp(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Target) setUp(ctx context.Context) error {
	if err := t.refuse(ctx); err != nil {
		return err
	}
	if err := t.own(ctx); err != nil {
		return err
	}
	if err := t.resolve(ctx); err != nil {
		return err
	}
	t.tagOrigin(ctx)
	return t.noteTriggers(ctx)
}

func (t *Target) connect(ctx context.Context) error {
	conn, err := postgres.Connect(ctx, t.cfg.URL, t.cfg.App)
	if err != nil {
		return err
	}
	t.conn, t.prepared, t.tx = conn, map[string]bool{}, transaction{}
	if err = EnsureSchema(ctx, conn); err == nil {
		err = step("set up the session", t.startSession(ctx))
	}
	if err != nil {
		t.Close()
	}
	return err
}

// resolve reads what the statements need to know of the target tables.
func (t *Target) resolve(ctx context.Context) error {
	homes := map[table.Name]int{}
	for no, ct := range t.cfg.Targets {
		equals, err := keyOperators(ctx, t.conn, ct)
		if err != nil {
			return err
		}
		tt, err := newTarget(ct, equals)
		if err != nil {
			return err
		}
		home, ok := homes[ct.Table.Name]
		if !ok {
			home = len(t.tables)
			homes[ct.Table.Name] = home
			t.tables = append(t.tables, ct.Table.Name)
		}
		tt.no, tt.home, tt.uncut = no, home, uncut(ct, t.conn.PgConn())
		t.cuts = t.cuts || len(tt.uncut) > 0
		t.targets = append(t.targets, tt)
	}
	t.copying.reset(len(t.tables), !t.progress.Loaded)
	t.folder, t.halver = t.newFolder(), t.newFolder()
	t.folder.copies = t.copying.may
	return t.noteCascades(ctx)
}

func (t *Target) newFolder() *folder {
	f := &folder{targets: t.targets, shapes: t.shapes, groupOf: map[groupKey]*group{}}
	for _, tt := range t.targets {
		var l *lots
		if tt.Keyless {
			l = &lots{added: map[uint64]struct{}{}}
		}
		f.lots = append(f.lots, l)
	}
	for range t.tables {
		f.tables = append(f.tables, &tableFold{index: newKeyIndex()})
	}
	return f
}

// tagOrigin marks this session's transactions with a replication origin, so that a reader on this database can tell them apart.
// It wants rights that few have: without them it is left out, with a note.
func (t *Target) tagOrigin(ctx context.Context) {
	if t.cfg.NoOrigin {
		return
	}
	name := OriginName(t.cfg.Migration)
	_, err := t.conn.Exec(ctx, `SELECT pg_catalog.pg_replication_origin_create($1::text)
		WHERE pg_catalog.pg_replication_origin_oid($1::text) IS NULL`, name)
	if err == nil {
		_, err = t.conn.Exec(ctx, `SELECT pg_catalog.pg_replication_origin_session_setup($1::text)`, name)
	}
	if err != nil {
		t.notes = append(t.notes, "transactions carry no replication origin: "+postgres.Safe(err).Error())
	}
}

// OriginName is the replication origin of a migration's transactions.
func OriginName(migration string) string { return "segue_" + migration }

// DropOrigin removes it, when the migration is over and nobody writes any more.
func DropOrigin(ctx context.Context, conn *pgx.Conn, migration string) error {
	_, err := conn.Exec(ctx, `SELECT pg_catalog.pg_replication_origin_drop($1::text)
		WHERE pg_catalog.pg_replication_origin_oid($1::text) IS NOT NULL`, OriginName(migration))
	return step("drop replication origin", err)
}

// noteTriggers tells of triggers on the target tables: they fire for what segue writes.
func (t *Target) noteTriggers(ctx context.Context) error {
	for _, name := range t.tables {
		var list *string
		err := t.conn.QueryRow(ctx, `
			SELECT pg_catalog.string_agg(pg_catalog.quote_ident(g.tgname), ', ' ORDER BY g.tgname)
			FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relname = $2 AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')`, name.Schema, name.Table).Scan(&list)
		if err != nil {
			return step("read triggers of "+name.String(), err)
		}
		if list != nil {
			t.notes = append(t.notes, fmt.Sprintf("triggers of %s fire for what segue writes: %s", name, *list))
		}
	}
	return nil
}

// Notes are what people should know of how the target is written.
func (t *Target) Notes() []string { return t.notes }

// Cursor is where the last commit stands: where to open the source.
func (t *Target) Cursor() frontier.Cursor { return t.progress.Cursor() }

// Progress is the row as this process last committed it.
func (t *Target) Progress() Progress {
	p := t.progress
	p.Pending, p.ParkedRows = int64(t.pending.len()), int64(t.parked.len())
	return p
}

// Stats counts since Open.
func (t *Target) Stats() Stats { return t.stats }

// Tables are the target tables that the mapping writes, each once.
func (t *Target) Tables() []table.Name { return t.tables }

// Close gives the connection up; an open transaction is rolled back by the server.
func (t *Target) Close() {
	if t.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = t.conn.Close(ctx)
	}
}

// buffers are the parameters' memory, used again from plan to plan.
type buffers struct {
	mu   sync.Mutex
	free [][]byte
}

// maxKeptBuffer is what a buffer may grow to and still be kept.
const maxKeptBuffer = 32 << 20

func (b *buffers) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.free)
	if n == 0 {
		return nil
	}
	buf := b.free[n-1]
	b.free = b.free[:n-1]
	return buf[:0]
}

func (b *buffers) give(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cap(buf) > 0 && cap(buf) <= maxKeptBuffer && len(b.free) < 3 {
		b.free = append(b.free, buf)
	}
}
