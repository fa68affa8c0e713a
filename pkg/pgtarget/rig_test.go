package pgtarget

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/table"
)

// asker keeps what was asked for.
type asker struct {
	mu   sync.Mutex
	keys []string
	most int // keys in a request
	err  error
}

func (a *asker) Ask(_ context.Context, requests []request.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range requests {
		a.most = max(a.most, len(r.Keys))
		for _, k := range r.Keys {
			a.keys = append(a.keys, r.Table.String()+" "+text(k))
		}
	}
	return a.err
}

func text(r change.Row) string {
	var parts []string
	for _, v := range r {
		switch {
		case v.IsAbsent():
			parts = append(parts, "?")
		case v.IsNull():
			parts = append(parts, "NULL")
		default:
			parts = append(parts, string(v.Bytes()))
		}
	}
	return strings.Join(parts, ",")
}

// rig is a database with tables that changes are applied to one to one.
type rig struct {
	t      testing.TB
	url    string
	conn   *pgx.Conn
	cfg    Config
	asker  *asker
	target *Target
	pos    change.Position
	offset int64
	open   []change.Mapped // of the frontier that is being built
}

func newRig(t testing.TB, ddl string, tables ...string) *rig {
	t.Helper()
	return newRigOf(t, ddl, func(*change.Target) {}, tables...)
}

// newRigOf is newRig with targets that are changed first.
func newRigOf(t testing.TB, ddl string, edit func(*change.Target), tables ...string) *rig {
	t.Helper()
	r := &rig{t: t, url: pgtest.Database(t), asker: &asker{}, pos: change.Position{Epoch: 1, LSN: 0x1000}}
	r.conn = pgtest.Connect(t, r.url)
	pgtest.Exec(t, r.conn, ddl)
	r.cfg = Config{URL: r.url, App: "segue test", Migration: "m", Owner: "test", Mode: Fused, Fingerprint: "f", Asker: r.asker, Targets: targets(t, r.conn, tables...)}
	for _, ct := range r.cfg.Targets {
		edit(ct)
	}
	r.reopen()
	t.Cleanup(func() { r.target.Close() })
	return r
}

func targets(t testing.TB, conn *pgx.Conn, tables ...string) []*change.Target {
	t.Helper()
	var names []table.Name
	for _, n := range tables {
		schema, name, ok := strings.Cut(n, ".")
		if !ok {
			schema, name = "public", n
		}
		names = append(names, table.Name{Schema: schema, Table: name})
	}
	shapes, err := postgres.TargetTables(t.Context(), conn, names)
	if err != nil {
		t.Fatal(err)
	}
	var out []*change.Target
	for _, s := range shapes {
		ct := &change.Target{Table: s, SoleFeeder: true, Source: table.Name{Schema: "legacy", Table: s.Name.Table}}
		for i, c := range s.Columns {
			if !c.Generated {
				ct.Columns = append(ct.Columns, i)
			}
		}
		for i, k := range s.Key {
			ct.SourceKey = append(ct.SourceKey, i)
			for place, ordinal := range ct.Columns {
				if ordinal == k {
					ct.Key = append(ct.Key, place)
				}
			}
		}
		out = append(out, ct)
	}
	return out
}

func (r *rig) reopen() {
	r.t.Helper()
	if r.target != nil {
		r.target.Close()
	}
	target, err := Open(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.target = target
}

// row reads "1,a,NULL,?" as a row: ? is absent.
func row(s string) change.Row {
	if s == "" {
		return nil
	}
	var out change.Row
	for _, part := range strings.Split(s, ",") {
		switch part {
		case "?":
			out = append(out, change.Absent())
		case "NULL":
			out = append(out, change.Null())
		default:
			out = append(out, change.String(part))
		}
	}
	return out
}

// do adds one change with one row operation to the open source transaction; key is the old key.
func (r *rig) do(target int, op change.Op, key, values string) {
	m := change.Mapped{SourceOp: op, Source: r.source(target), Ops: []change.RowOp{{Target: target, Op: op, Key: row(key), Row: row(values)}}}
	if op != change.Truncate {
		m.SourceKey = m.Ops[0].Key
		if m.Ops[0].Row != nil {
			m.SourceKey = nil
			for _, k := range r.cfg.Targets[target].Key {
				m.SourceKey = append(m.SourceKey, m.Ops[0].Row[k])
			}
		}
	}
	r.add(m)
}

func (r *rig) source(target int) table.Name {
	return table.Name{Schema: "legacy", Table: r.cfg.Targets[target].Table.Name.Table}
}

func (r *rig) add(m change.Mapped) {
	r.pos.Seq++
	m.Pos = r.pos
	m.Tx.Committed = 1_700_000_000_000_000
	r.open = append(r.open, m)
}

// commit ends the source transaction.
func (r *rig) commit() {
	r.pos.LSN += 0x100
	r.pos.Seq = 0
}

// batch takes what was added since the last batch, up to a boundary or inside a source transaction.
func (r *rig) batch(boundary bool) frontier.Batch[change.Mapped] {
	r.offset++
	at := change.Position{Epoch: r.pos.Epoch, LSN: r.pos.LSN - 0x100, Seq: 1 << 20}
	if !boundary {
		at = r.pos
	}
	b := frontier.Batch[change.Mapped]{Offset: r.offset, Changes: r.open,
		Frontier: &frontier.Frontier{At: at, Boundary: boundary, Committed: 1_700_000_000_000_000, Incarnation: 7}}
	r.open = nil
	return b
}

func (r *rig) apply(batches ...frontier.Batch[change.Mapped]) error {
	r.t.Helper()
	p, err := r.target.Prepare(batches)
	if err != nil {
		return err
	}
	defer r.target.Release(p)
	return r.target.Apply(r.t.Context(), p)
}

// must commits the source transaction and applies it.
func (r *rig) must() {
	r.t.Helper()
	r.commit()
	if err := r.apply(r.batch(true)); err != nil {
		r.t.Fatal(err)
	}
}

// rows is a query's result as lines.
func (r *rig) rows(sql string, args ...any) string {
	r.t.Helper()
	return query(r.t, r.conn, sql, args...)
}

func query(t testing.TB, conn *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		var parts []string
		for _, v := range values {
			if v == nil {
				v = "NULL"
			}
			parts = append(parts, fmt.Sprint(v))
		}
		return strings.Join(parts, ","), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, " ")
}

func (r *rig) want(sql, want string) {
	r.t.Helper()
	if got := r.rows(sql); got != want {
		r.t.Fatalf("%s\n got %s\nwant %s", sql, got, want)
	}
}

func one(b frontier.Batch[change.Mapped]) []frontier.Batch[change.Mapped] {
	return []frontier.Batch[change.Mapped]{b}
}
