package pgtarget

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
)

// newKeylessRig is a rig whose tables are fed by source tables without key, in the columns that are not named.
func newKeylessRig(t testing.TB, ddl string, except string, tables ...string) *rig {
	t.Helper()
	return newRigOf(t, ddl, func(ct *change.Target) {
		ct.Keyless, ct.Key = true, nil
		ct.Columns = slices.DeleteFunc(ct.Columns, func(c int) bool { return ct.Table.Columns[c].Name == except })
		for i := range ct.Columns {
			ct.Key = append(ct.Key, i)
		}
	}, tables...)
}

// keyless adds a change of a keyless table: rows as text, old and new.
func (r *rig) keyless(op change.Op, before, after string) {
	r.keylessRows(op, row(before), row(after))
}

func (r *rig) keylessRows(op change.Op, before, after change.Row) {
	r.add(change.Mapped{SourceOp: op, Source: r.source(0), Ops: []change.RowOp{{Op: op, Key: before, Row: after}}})
}

func TestOneOfEqualRowsIsTaken(t *testing.T) {
	r := newKeylessRig(t, "CREATE TABLE item (a int, b text)", "", "item")
	r.keyless(change.Insert, "", "1,x")
	r.keyless(change.Insert, "", "1,x")
	r.keyless(change.Insert, "", "1,x")
	r.keyless(change.Insert, "", "1,NULL")
	r.keyless(change.Insert, "", "1,NULL")
	r.keylessRows(change.Insert, nil, change.Row{change.String("1"), change.String("")})
	r.must()
	r.keyless(change.Update, "1,x", "2,x")
	r.keyless(change.Delete, "1,x", "")
	r.keyless(change.Delete, "1,NULL", "")
	r.must()
	r.want("SELECT a, b FROM item ORDER BY a, b", "1, 1,x 1,NULL 2,x")
	// Two at once, of three: as many as there are old rows.
	r.keyless(change.Insert, "", "1,x")
	r.keyless(change.Insert, "", "1,x")
	r.must()
	r.keyless(change.Delete, "1,x", "")
	r.keyless(change.Delete, "1,x", "")
	r.keyless(change.Update, "1,x", "3,x")
	r.must()
	r.want("SELECT a, b FROM item ORDER BY a, b", "1, 1,NULL 2,x 3,x")
	if len(r.asker.keys) != 0 || r.target.Stats().Halvings != 0 {
		t.Errorf("asked %v, halved %d times", r.asker.keys, r.target.Stats().Halvings)
	}
}

// A row goes through several changes in one batch, so that each needs the one before it.
func TestChangesOfARowWithoutAKeyKeepTheirOrder(t *testing.T) {
	r := newKeylessRig(t, "CREATE TABLE item (a int, b text)", "", "item")
	r.keyless(change.Insert, "", "1,a")
	r.keyless(change.Update, "1,a", "2,b")
	r.keyless(change.Update, "2,b", "1,a")
	r.keyless(change.Insert, "", "2,b")
	r.keyless(change.Delete, "1,a", "")
	r.keyless(change.Update, "2,b", "3,c")
	r.add(change.Mapped{SourceOp: change.Truncate, Source: r.source(0), Ops: []change.RowOp{{Op: change.Truncate}}})
	r.keyless(change.Insert, "", "4,d")
	r.keyless(change.Update, "4,d", "5,e")
	r.must()
	r.want("SELECT a, b FROM item", "5,e")
	if len(r.asker.keys) != 0 {
		t.Errorf("asked %v", r.asker.keys)
	}
}

// Values are compared as the column shows them: types without equality, numbers that are equal and not the same, padding, NaN.
func TestRowsWithoutAKeyAreFoundByTheirText(t *testing.T) {
	r := newKeylessRig(t, `CREATE DOMAIN short AS varchar(3); CREATE TYPE pair AS (x int, y text); CREATE TYPE mood AS ENUM ('glad', 'sad');
		CREATE TABLE v (j json, x xml, p point, n numeric, f float8, c char(5), g real, cut numeric(6,1), d date, a text[], s short, q pair, m mood, b bytea, jb jsonb, z timestamptz)`, "", "v")
	base := change.Row{}
	for _, s := range []string{`{"b": 1,  "a":2}`, "<a>1</a>", "(1,2)", "1.0", "0", "ab", "1.1", "10.1", "2020-01-01", `{a,NULL,"b,c"}`, "abc", `(1,"")`, "sad", `\x00`, `{"k": 1}`, "2020-01-01 00:00:00+00"} {
		base = append(base, change.String(s))
	}
	with := func(place int, v change.Value) change.Row {
		out := slices.Clone(base)
		out[place] = v
		return out
	}
	rows := []change.Row{
		base, with(0, change.String(`{"a":2, "b": 1}`)), with(1, change.String("<a>2</a>")), with(2, change.String("(1,2.5)")),
		with(3, change.String("1.00")), with(3, change.String("NaN")), with(3, change.Null()), with(4, change.String("-0")), with(4, change.String("NaN")),
		with(4, change.String("0.1")), with(5, change.String("ab   ")), with(6, change.String("1.10000002")), with(8, change.String("infinity")), with(9, change.String("{}")),
		with(11, change.String("(1,)")), with(11, change.Null()), with(14, change.String(`{"k":  1}`)), with(10, change.String("")), with(10, change.Null()),
		with(0, change.String(strings.Repeat(`["long", 1], `, 1)+"null")),
	}
	rows = rows[:len(rows)-1]
	all := make(change.Row, len(base))
	for i := range all {
		all[i] = change.Null()
	}
	rows = append(rows, all, with(7, change.String("10.14"))) // 10.14 is stored as 10.1: as base is
	for _, v := range rows {
		r.keylessRows(change.Insert, nil, v)
	}
	r.must()
	for i, v := range rows {
		r.keylessRows(change.Update, v, with(8, change.String(fmt.Sprintf("1999-01-%02d", i+1))))
		r.must()
	}
	r.want("SELECT count(*), count(DISTINCT d), bool_and(d < '2000-01-01') FROM v", fmt.Sprintf("%d,%d,true", len(rows), len(rows)))
	if len(r.asker.keys) != 0 || r.target.Stats().Halvings != 0 {
		t.Errorf("asked %v, halved %d times", r.asker.keys, r.target.Stats().Halvings)
	}
}

// The target may have a key and columns of its own.
func TestATargetOfATableWithoutAKeyMayHaveAKeyOfItsOwn(t *testing.T) {
	r := newKeylessRig(t, "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b varchar(3), seen timestamptz DEFAULT now())", "id", "item")
	r.keyless(change.Insert, "", "1,x,2020-01-01")
	r.keyless(change.Insert, "", "1,x,2020-01-01")
	r.must()
	r.keyless(change.Update, "1,x,2020-01-01", "2,y,2020-01-01")
	r.must()
	r.want("SELECT count(DISTINCT id), count(*), min(a), max(a) FROM item", "2,2,1,2")
}

func TestPartitionedTargetsOfTablesWithoutAKey(t *testing.T) {
	r := newKeylessRig(t, "CREATE TABLE item (a int, b text) PARTITION BY LIST (a); CREATE TABLE i1 PARTITION OF item FOR VALUES IN (1); CREATE TABLE i2 PARTITION OF item FOR VALUES IN (2)", "", "item")
	for range 3 {
		r.keyless(change.Insert, "", "1,x")
		r.keyless(change.Insert, "", "2,x")
	}
	r.must()
	r.keyless(change.Update, "1,x", "2,x")
	r.keyless(change.Delete, "2,x", "")
	r.must()
	r.want("SELECT a, count(*) FROM item GROUP BY a ORDER BY a", "1,2 2,3")
}

// A large load goes by COPY, and a row that the target refuses is named.
func TestARefusedRowOfATableWithoutAKeyIsNamed(t *testing.T) {
	r := newKeylessRig(t, "CREATE TABLE item (a int, b varchar(3))", "", "item")
	for i := range 1000 {
		r.keyless(change.Read, "", fmt.Sprintf("%d,x", i%7))
	}
	r.must()
	r.want("SELECT count(*), count(DISTINCT a) FROM item", "1000,7")
	if r.target.Stats().Copied != 1000 {
		t.Errorf("%d rows were copied", r.target.Stats().Copied)
	}
	for i := range 500 {
		r.keyless(change.Insert, "", fmt.Sprintf("%d,y", i))
		if i == 321 {
			r.keyless(change.Update, "1,x", "2,xyzxyz")
		}
		r.commit()
	}
	err := r.apply(r.batch(true))
	var refused *ApplyError
	if !errors.As(err, &refused) || refused.Target.Table != "item" || !strings.Contains(err.Error(), "22001") || strings.Contains(err.Error(), "xyz") {
		t.Errorf("%v", err)
	}
}

// A miss asks for the whole table once, and whatever else misses until it came does not matter; a second time stops.
func TestARowThatIsNotThereHasItsTableLoadedAgain(t *testing.T) {
	r := newKeylessRig(t, "CREATE TABLE item (a int, b text)", "", "item")
	truncate := func() {
		r.add(change.Mapped{SourceOp: change.Truncate, Source: r.source(0), Ops: []change.RowOp{{Op: change.Truncate}}})
	}
	r.keyless(change.Insert, "", "1,x")
	r.keyless(change.Delete, "9,x", "")
	r.keyless(change.Delete, "8,x", "")
	r.must()
	r.keyless(change.Update, "7,x", "6,x")
	r.must()
	if !slices.Equal(r.asker.keys, []string{"legacy.item "}) {
		t.Fatalf("asked %q", r.asker.keys)
	}
	r.want("SELECT source_table, key_values, reason FROM segue.pending", "item,[],a row of a table without key is not there: the table is loaded again")
	// Another process knows that it waits.
	r.reopen()
	r.keyless(change.Update, "7,x", "6,x")
	r.must()
	r.want("SELECT count(*) FROM segue.pending", "1")
	truncate()
	r.keyless(change.Read, "", "1,x")
	r.must()
	r.want("SELECT count(*) FROM segue.pending", "0")
	r.want("SELECT a, b FROM item", "1,x")
	// Behind the load it is a miss again, in the same batch as the next load as well.
	r.keyless(change.Delete, "5,x", "")
	r.must()
	truncate()
	r.keyless(change.Read, "", "1,x")
	r.keyless(change.Delete, "4,x", "")
	r.commit()
	err := r.apply(r.batch(true))
	if !errors.Is(err, errAdriftAgain) || fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "start again") {
		t.Errorf("%v", err)
	}
	if len(r.asker.keys) != 2 {
		t.Errorf("asked %q", r.asker.keys)
	}
}

// Random changes, in batches of any size and with slices of open transactions, leave the multiset that a model has.
func TestRandomChangesWithoutAKey(t *testing.T) {
	r := newKeylessRig(t, "CREATE TABLE item (a int, b text, n numeric(8,2) UNIQUE DEFERRABLE INITIALLY DEFERRED)", "n", "item")
	random := rand.New(rand.NewPCG(1, 2))
	var model []string
	value := func() string {
		return fmt.Sprintf("%d,%s", random.IntN(4), []string{"x", "y", "NULL"}[random.IntN(3)])
	}
	for range 60 {
		for range random.IntN(25) {
			at := -1
			if len(model) > 0 {
				at = random.IntN(len(model))
			}
			switch n := random.IntN(10); {
			case n < 4 || at < 0:
				model = append(model, value())
				r.keyless(change.Insert, "", model[len(model)-1])
			case n < 7:
				to := value()
				r.keyless(change.Update, model[at], to)
				model[at] = to
			case n == 9 && random.IntN(30) == 0:
				r.add(change.Mapped{SourceOp: change.Truncate, Source: r.source(0), Ops: []change.RowOp{{Op: change.Truncate}}})
				model = nil
			default:
				r.keyless(change.Delete, model[at], "")
				model = slices.Delete(model, at, at+1)
			}
			if random.IntN(8) == 0 {
				r.commit()
			} else if random.IntN(12) == 0 {
				if err := r.apply(r.batch(false)); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.must()
		slices.Sort(model)
		got := r.rows("SELECT a || ',' || coalesce(b, 'NULL') FROM item ORDER BY (a || ',' || coalesce(b, 'NULL')) COLLATE \"C\"")
		if got != strings.Join(model, " ") {
			t.Fatalf("got  %s\nwant %s", got, strings.Join(model, " "))
		}
	}
	if len(r.asker.keys) != 0 {
		t.Errorf("asked %v", r.asker.keys)
	}
}
