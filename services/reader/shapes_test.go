package reader_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/table"
	"segue/pkg/wire"
	"segue/services/reader"
)

// reshape starts the target again with the shapes that the tables have now, at what it has applied.
func (x *target) reshape() {
	x.h.t.Helper()
	tables, err := postgres.Tables(x.h.t.Context(), x.h.conn, x.h.names)
	if err != nil {
		x.h.t.Fatal(err)
	}
	for i, now := range tables {
		was := x.codecs[i*partitions].Table()
		c, err := wire.NewRaw(x.h.t.Context(), x.h.reg, rawTopic(now.Name.Topic()), now, wire.Source{Migration: migration})
		if err != nil {
			x.h.t.Fatal(err)
		}
		for p := range partitions {
			x.codecs[i*partitions+p] = c
		}
		for _, rows := range []map[string]change.Row{x.rows[now.Name.Table], x.base.rows[now.Name.Table]} {
			for key, old := range rows {
				row := make(change.Row, len(now.Columns))
				for j := range was.Columns {
					if at := now.Column(was.Columns[j].Name); at >= 0 {
						row[at] = old[j]
					}
				}
				rows[key] = row
			}
		}
	}
}

// settleAgain is settle for tables that are read again, while all counts as loaded: two marks pass while nothing is left to read.
func (x *target) settleAgain() {
	x.h.t.Helper()
	for quiet := 0; quiet < 2; {
		id := "again" + strconv.FormatInt(time.Now().UnixNano(), 36)
		x.h.mark(chunk.MarkHigh, id)
		x.until("mark "+id, func() bool {
			return slices.ContainsFunc(x.marks, func(m frontier.Mark) bool { return m.ID == id })
		})
		if quiet++; !x.read() {
			quiet = 0
		}
	}
	x.settle()
}

// read says whether no table is being read, for the first time or again.
func (x *target) read() bool {
	all := x.h.last.Progress()
	for _, p := range all {
		if !p.Complete {
			return false
		}
	}
	return all != nil
}

// A table that is changed while the reader is down, or far behind, leaves rows of its former shapes in the log, of several where it is changed
// in quick succession. They are read as they were written, and the table is read again for what they do not tell.
func TestATableThatChangedWhileNobodyRead(t *testing.T) {
	for name, statements := range map[string][]string{
		"a column comes with a default": {
			`UPDATE public.b SET note = 'before' WHERE y = 1`, `INSERT INTO public.b (x, y) VALUES ('new', 1)`,
			`ALTER TABLE public.b ADD COLUMN more text DEFAULT 'standard'`, `UPDATE public.b SET more = 'after' WHERE y = 2`,
		},
		"a column goes": {`UPDATE public.b SET note = 'before' WHERE y = 1`, `ALTER TABLE public.b DROP COLUMN note`, `DELETE FROM public.b WHERE y = 4`},
		"a column is renamed": {`UPDATE public.b SET note = 'before' WHERE y = 1`, `ALTER TABLE public.b RENAME note TO remark`,
			`UPDATE public.b SET remark = 'after' WHERE y = 2`},
		"a column gets another type, which rewrites": {`UPDATE public.b SET note = 'before' WHERE y = 1`,
			`ALTER TABLE public.b ALTER COLUMN note TYPE int USING length(note)`, `UPDATE public.b SET note = 7 WHERE y = 2`},
		"a type goes there and back, and no catalog shows it": {`ALTER TABLE public.b ALTER COLUMN note TYPE int USING length(note)`,
			`INSERT INTO public.b (x, y, note) VALUES ('new', 1, 11)`, `ALTER TABLE public.b ALTER COLUMN note TYPE text USING 'n' || note`},
		"a column is made again by the same name": {`UPDATE public.b SET note = 'before' WHERE y = 1`, `ALTER TABLE public.b DROP COLUMN note`,
			`ALTER TABLE public.b ADD COLUMN note text DEFAULT 'again'`, `UPDATE public.b SET v = nextval('public.versions') WHERE y < 9`},
		"three shapes in quick succession": {
			`UPDATE public.b SET note = 'one' WHERE y = 1`, `ALTER TABLE public.b ADD COLUMN second int DEFAULT 2`,
			`INSERT INTO public.b (x, y, note, second) VALUES ('new', 2, 'two', 22)`, `UPDATE public.b SET x = 'moved' WHERE y = 3`,
			`ALTER TABLE public.b DROP COLUMN note, ADD COLUMN third date DEFAULT '2020-02-02'`,
			`DELETE FROM public.b WHERE y = 4`, `INSERT INTO public.b (x, y, third) VALUES ('new', 3, '2021-01-01')`,
		},
		"the key's type is widened": {`DELETE FROM public.b WHERE y = 7`, `ALTER TABLE public.b ALTER COLUMN y TYPE bigint`, `DELETE FROM public.b WHERE y = 8`},
		"the replica identity is full in between": {`UPDATE public.b SET note = 'before' WHERE y = 1`, `ALTER TABLE public.b REPLICA IDENTITY FULL`,
			`UPDATE public.b SET x = 'moved' WHERE y = 2`, `ALTER TABLE public.b REPLICA IDENTITY DEFAULT`, `DELETE FROM public.b WHERE y = 3`},
		"one transaction writes both shapes": {`BEGIN`, `UPDATE public.b SET note = 'before' WHERE y = 1`, `ALTER TABLE public.b ADD COLUMN more int DEFAULT 5`,
			`UPDATE public.b SET more = 6 WHERE y = 2`, `COMMIT`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, pgtest.Database(t), []string{"b"}, shop...)
			h.start()
			x := h.target()
			x.settle()
			h.kill()
			pgtest.Exec(t, h.conn, statements...)
			h.revive = true
			h.start()
			x.reshape()
			x.until("rows of an older shape", func() bool {
				return strings.Contains(h.logs.String(), "older shape") || strings.Contains(h.logs.String(), "it is read again")
			})
			x.settleAgain()
			// What was read again is not read a third time.
			read := x.seen[change.Read]
			h.kill()
			h.start()
			x.settle()
			if x.seen[change.Read] != read {
				t.Errorf("%d rows were read for nothing", x.seen[change.Read]-read)
			}
		})
	}
}

// Reading a table again is a load like any other: it survives kills, and goes on under traffic.
func TestATableIsReadAgainThroughCrashes(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	h.cfg = func(c *reader.Config) { c.RowsPerSecond = 3000 }
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	pgtest.Exec(t, h.conn, `UPDATE public.a SET n = 5 WHERE id = 5`, `ALTER TABLE public.a ADD COLUMN more text DEFAULT 'standard'`)
	stop := busy(t, h.url, false)
	x.reshape()
	h.start()
	for range 3 {
		n := x.loads + 4
		x.until("some chunks", func() bool { return x.loads >= n })
		if !x.loaded {
			t.Fatal("all that is read again is one table: the rest stays loaded")
		}
		h.kill()
		h.start()
	}
	stop()
	x.settleAgain()
}

// Rows whose key is not the present one cannot be told apart any more.
func TestRowsByAFormerKeyStopTheReader(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	pgtest.Exec(t, h.conn, `UPDATE public.a SET n = 5 WHERE id = 5`, `ALTER TABLE public.a ADD COLUMN uid int`, `UPDATE public.a SET uid = id`,
		`ALTER TABLE public.a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (uid)`)
	h.start()
	err := h.end()
	if err == nil || !strings.Contains(err.Error(), "former shape") || !strings.Contains(fault.HintOf(err), "--new-history") {
		t.Fatalf("got %v", err)
	}
}

// What a running reader meets is told with its name; what the catalog alone shows, too: no row has to come.
func TestSchemaChangesThatPause(t *testing.T) {
	for _, tt := range []struct {
		name       string
		statements []string
		want       string
	}{
		{"added", []string{`ALTER TABLE public.b ADD COLUMN more numeric(5,2)`}, "column more was added, numeric(5,2)"},
		{"dropped", []string{`ALTER TABLE public.b DROP COLUMN note`}, "column note was dropped"},
		{"renamed", []string{`ALTER TABLE public.b RENAME note TO remark`}, "column note is now called remark"},
		{"retyped", []string{`ALTER TABLE public.b ALTER COLUMN note TYPE varchar(900)`}, "column note: the type was text, now it is character varying(900)"},
		{"full", []string{`ALTER TABLE public.b REPLICA IDENTITY FULL`}, "the replica identity was default, now it is full"},
		{"nothing", []string{`ALTER TABLE public.b REPLICA IDENTITY NOTHING`}, "the replica identity was default, now it is nothing"},
		{"key", []string{`ALTER TABLE public.b DROP CONSTRAINT b_pkey, ADD PRIMARY KEY (y, x, v)`}, `the replica identity's columns were ["x" "y"], now they are ["v" "x" "y"]`},
	} {
		for _, quiet := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s quiet=%v", tt.name, quiet), func(t *testing.T) {
				t.Parallel()
				h := newHarness(t, pgtest.Database(t), []string{"b"}, shop...)
				h.cfg = func(c *reader.Config) { c.CatalogEvery = 1 }
				if !quiet {
					h.cfg = func(c *reader.Config) { c.CatalogEvery = 1 << 40 }
				}
				h.start()
				x := h.target()
				x.settle()
				pgtest.Exec(t, h.conn, tt.statements...)
				if !quiet {
					pgtest.Exec(t, h.conn, `INSERT INTO public.b (x, y) VALUES ('new', 1)`)
				}
				err := h.end()
				var changed *reader.SchemaError
				if !errors.As(err, &changed) || changed.Table != (table.Name{Schema: "public", Table: "b"}) || !strings.Contains(err.Error(), tt.want) || changed.At.Zero() != quiet {
					t.Fatalf("got %v", err)
				}
			})
		}
	}
}

// Changes of columns that nothing takes stop nothing where the user said so.
func TestIgnoredSchemaChanges(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"b"}, shop...)
	h.cfg = func(c *reader.Config) {
		c.CatalogEvery = 1
		c.Ignore = func(n table.Name) bool { return n.Table == "b" }
		c.Uses = func(_ table.Name, column string) bool { return column != "more" && column != "other" }
	}
	h.start()
	x := h.target()
	x.settle()
	pgtest.Exec(t, h.conn, `ALTER TABLE public.b ADD COLUMN more text DEFAULT 'nobody takes it'`, `INSERT INTO public.b (x, y, more) VALUES ('new', 1, 'x')`,
		`ALTER TABLE public.b DROP COLUMN more, ADD COLUMN other int`, `INSERT INTO public.b (x, y, other) VALUES ('new', 2, 2)`)
	n := x.seen[change.Insert]
	x.until("both rows", func() bool { return x.seen[change.Insert] == n+2 })
	pgtest.Exec(t, h.conn, `ALTER TABLE public.b DROP COLUMN note`)
	if err := h.end(); err == nil || !strings.Contains(err.Error(), "column note was dropped") || strings.Contains(err.Error(), "other") {
		t.Fatalf("got %v", err)
	}
}
