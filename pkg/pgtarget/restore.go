package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// IndexBuild says where indexes are made again, and how many at the same time.
type IndexBuild struct {
	URL, App, Migration string
	Workers             int
}

// rebuild is what is left to do for indexes to be as they were, each step a transaction.
type rebuild struct {
	making [][]string // independent of each other: the indexes that hold rows
	behind [][]string // in this order: partitioned indexes, what is attached to them, cluster marks
	end    []string   // what was kept is forgotten
	notes  []string
}

func (b *rebuild) steps() [][]string { return slices.Concat(b.making, b.behind) }

func (b *rebuild) statements() []string {
	return append(slices.Concat(b.steps()...), b.end...)
}

// RestoreIndexesSQL is what RestoreIndexes runs.
func RestoreIndexesSQL(ctx context.Context, conn *pgx.Conn, migration string) ([]string, error) {
	if some, err := keeps(ctx, conn); err != nil || !some {
		return nil, err
	}
	b, err := planRebuild(ctx, conn, migration)
	if err != nil {
		return nil, err
	}
	return b.statements(), nil
}

func planRebuild(ctx context.Context, conn *pgx.Conn, migration string) (b *rebuild, err error) {
	_, err = planned(ctx, conn, func(tx pgx.Tx) ([]string, error) {
		c := &comparison{}
		if err := c.read(ctx, tx, migration); err != nil {
			return nil, err
		}
		b = c.plan()
		if len(c.kept) > 0 {
			b.end = []string{"DELETE FROM segue.indexes WHERE migration = " + literal(migration)}
		}
		return nil, nil
	})
	return b, err
}

// comparison is what was kept, and what the catalog has now.
type comparison struct {
	kept     []index
	now      map[table.Name]*index                // by the index's name
	parts    map[table.Name]map[table.Name]string // partitioned table → its partitions → a text that tells them apart
	leaves   map[table.Name]bool                  // partitions that have none of their own
	there    map[table.Name]bool                  // kept tables that still are
	attached map[table.Name]map[table.Name]bool   // partitioned index → the tables of its partitions
}

const (
	tablesThereSQL = `
SELECT n.nspname, c.relname, pn.nspname, p.relname, c.oid::text, c.relkind = 'p'
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE c.relkind IN ('r', 'p') AND (c.relispartition OR EXISTS (SELECT FROM segue.indexes k WHERE k.migration = $1 AND k.schema_name = n.nspname AND k.table_name = c.relname))
ORDER BY 1, 2`
	attachedSQL = `
SELECT pn.nspname, p.relname, n.nspname, t.relname
FROM pg_catalog.pg_inherits h
JOIN pg_catalog.pg_index i ON i.indexrelid = h.inhrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = h.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE EXISTS (SELECT FROM segue.indexes k WHERE k.migration = $1 AND k.schema_name = pn.nspname AND k.partitioned)`
)

func (c *comparison) read(ctx context.Context, tx pgx.Tx, migration string) (err error) {
	if c.kept, err = scanIndexes(ctx, tx, keptIndexesSQL, migration); err != nil || len(c.kept) == 0 {
		return err
	}
	c.parts, c.leaves, c.there = map[table.Name]map[table.Name]string{}, map[table.Name]bool{}, map[table.Name]bool{}
	err = collect(ctx, tx, tablesThereSQL, []any{migration}, func(row pgx.CollectableRow) error {
		var t table.Name
		var schema, parent *string
		var oid string
		var partitioned bool
		if err := row.Scan(&t.Schema, &t.Table, &schema, &parent, &oid, &partitioned); err != nil {
			return err
		}
		c.there[t], c.leaves[t] = true, !partitioned
		if parent != nil {
			p := table.Name{Schema: *schema, Table: *parent}
			if c.parts[p] == nil {
				c.parts[p] = map[table.Name]string{}
			}
			c.parts[p][t] = oid
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.attached = map[table.Name]map[table.Name]bool{}
	err = collect(ctx, tx, attachedSQL, []any{migration}, func(row pgx.CollectableRow) error {
		var x, t table.Name
		err := row.Scan(&x.Schema, &x.Table, &t.Schema, &t.Table)
		if c.attached[x] == nil {
			c.attached[x] = map[table.Name]bool{}
		}
		c.attached[x][t] = true
		return err
	})
	if err != nil {
		return err
	}
	c.addPartitions()
	return c.readPresent(ctx, tx)
}

func (c *comparison) readPresent(ctx context.Context, tx pgx.Tx) error {
	schemas, names := make([]string, len(c.kept)), make([]string, len(c.kept))
	for i := range c.kept {
		schemas[i], names[i] = c.kept[i].table.Schema, c.kept[i].name
	}
	present, err := scanIndexes(ctx, tx, presentSQL, schemas, names)
	c.now = map[table.Name]*index{}
	for i := range present {
		c.now[present[i].place()] = &present[i]
	}
	return err
}

// addPartitions adds what PostgreSQL would have added by itself had the index been there: one for each partition that was made meanwhile.
func (c *comparison) addPartitions() {
	has := map[table.Name]map[table.Name]bool{}
	for i := range c.kept {
		if p := c.kept[i].parent; p != nil {
			if has[*p] == nil {
				has[*p] = map[table.Name]bool{}
			}
			has[*p][c.kept[i].table] = true
		}
	}
	for i := 0; i < len(c.kept); i++ { // it grows
		x := c.kept[i]
		if !x.partitioned {
			continue
		}
		for part, id := range c.parts[x.table] {
			if !has[x.place()][part] && !c.attached[x.place()][part] {
				c.kept = append(c.kept, x.forPartition(part, id, c.leaves[part]))
			}
		}
	}
}

// maxName is PostgreSQL's bound on a name, in bytes.
const maxName = 63

func (x *index) forPartition(part table.Name, id string, leaf bool) index {
	base := x.name
	for len(base)+1+len(id) > maxName {
		_, n := utf8.DecodeLastRuneInString(base)
		base = base[:len(base)-n]
	}
	parent := x.place()
	out := index{table: part, name: base + "_" + id, tail: x.tail, tablespace: x.tablespace, partitioned: !leaf, parent: &parent}
	only := "ONLY "
	if leaf {
		only = ""
	}
	out.definition = "CREATE INDEX " + table.Quote(out.name) + " ON " + only + part.SQL() + x.tail
	return out
}

func (c *comparison) plan() *rebuild {
	b := &rebuild{}
	var attach, marks [][]string
	for i := range c.kept {
		x := &c.kept[i]
		now := c.now[x.place()]
		switch {
		case !c.there[x.table]:
			b.notes = append(b.notes, fmt.Sprintf("index %s is not made again: its table %s is gone", x.name, x.table))
			continue
		case now != nil && now.definition != x.definition && (now.valid || now.partitioned):
			b.notes = append(b.notes, fmt.Sprintf("index %s is not made again: %s has another one of that name now", x.name, now.table))
			continue
		}
		if made := x.makeSQL(now); len(made) > 0 && x.partitioned {
			b.behind = append(b.behind, made)
		} else if len(made) > 0 {
			b.making = append(b.making, made)
		}
		if x.parent != nil && (now == nil || now.parent == nil) && c.belongs(x) {
			attach = append(attach, []string{"ALTER INDEX " + x.parent.SQL() + " ATTACH PARTITION " + x.place().SQL()})
		}
		if x.clustered && (now == nil || !now.clustered) {
			marks = append(marks, []string{"ALTER TABLE " + x.table.SQL() + " CLUSTER ON " + table.Quote(x.name)})
		}
	}
	b.behind = slices.Concat(b.behind, attach, marks)
	return b
}

// belongs says whether the index's table is still a partition of the one that its parent is on.
func (c *comparison) belongs(x *index) bool {
	for i := range c.kept {
		if c.kept[i].place() == *x.parent {
			_, ok := c.parts[c.kept[i].table][x.table]
			return ok
		}
	}
	return false
}

// makeSQL makes the index what it was. The tablespace is not part of a definition, and a role may have a default of its own.
func (x *index) makeSQL(now *index) []string {
	var out []string
	if now != nil && !now.valid && !x.partitioned {
		out = append(out, "DROP INDEX "+x.place().SQL())
		now = nil
	}
	if now == nil {
		out = append(out, "SET default_tablespace = "+literal(x.tablespace), x.definition)
	}
	for _, e := range x.extras {
		if now == nil || !slices.Contains(now.extras, e) {
			out = append(out, e)
		}
	}
	return out
}

// RestoreIndexes makes the indexes again that were kept, over connections of its own, and returns notes for people. What is there
// already, valid and equal, is done; an invalid one is dropped and made anew. They are made without CONCURRENTLY: segue is the only one who writes,
// and waits; readers do not notice. Where one fails the others end first: what was made stays.
func RestoreIndexes(ctx context.Context, cfg IndexBuild) (notes []string, err error) {
	conn, err := postgres.Connect(ctx, cfg.URL, cfg.App)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	b, err := planRebuild(ctx, conn, cfg.Migration)
	if err != nil || len(b.end) == 0 {
		return nil, err
	}
	if err := b.make(ctx, cfg); err != nil {
		return nil, err
	}
	for i, s := range b.behind {
		if err := alter(ctx, conn, "make indexes again", s, append(slices.Concat(b.behind[i:]...), b.end...)); err != nil {
			return nil, err
		}
	}
	left, err := planRebuild(ctx, conn, cfg.Migration)
	if err != nil {
		return nil, err
	}
	if n := len(left.steps()); n > 0 {
		return nil, fault.Fatal(fmt.Errorf("make indexes again: %d steps did not do what they should", n), "run as the owner:\n"+strings.Join(left.statements(), ";\n")+";")
	}
	return left.notes, alter(ctx, conn, "forget kept indexes", b.end, b.end)
}

// make makes the indexes that hold rows, several at a time.
func (b *rebuild) make(ctx context.Context, cfg IndexBuild) error {
	var mu sync.Mutex
	var failed error
	next := 0
	take := func() []string {
		mu.Lock()
		defer mu.Unlock()
		if failed != nil || next == len(b.making) {
			return nil
		}
		next++
		return b.making[next-1]
	}
	var g errgroup.Group // not one that cancels: an index that took an hour is not given up because another one waits for a lock
	for range min(max(cfg.Workers, 1), len(b.making)) {
		g.Go(func() error {
			err := worker(ctx, cfg, take, b.statements())
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			return err
		})
	}
	return g.Wait()
}

// noticeDeath lets the server give an index up within seconds when this process dies; not every platform has it.
const noticeDeath = "SET client_connection_check_interval = '2s'"

func worker(ctx context.Context, cfg IndexBuild, take func() []string, whole []string) error {
	conn, err := postgres.Connect(ctx, cfg.URL, cfg.App)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, noticeDeath); err != nil && !serverError(err) {
		return step("set up a session for indexes", err)
	}
	for sql := take(); sql != nil; sql = take() {
		if err := alter(ctx, conn, "make indexes again", sql, whole); err != nil {
			return err
		}
	}
	return nil
}
