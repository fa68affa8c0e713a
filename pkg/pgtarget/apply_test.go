package pgtarget

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
)

const itemDDL = `CREATE TABLE item (id int PRIMARY KEY, name varchar(10) UNIQUE, note text, n int DEFAULT 7)`

// A key that is freed and taken again in one batch may come back in another text: 1.0 and 1.00 are one numeric key.
func TestAKeyThatIsTakenAgainUnderAnotherTextIsNotMoved(t *testing.T) {
	r := newRig(t, "CREATE TABLE k (id numeric PRIMARY KEY, v text)", "k")
	r.do(0, change.Insert, "", "1.0,a")
	r.commit()
	if err := r.apply(r.batch(true)); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Update, "1.0", "2,a")
	r.do(0, change.Insert, "", "1.00,b")
	r.commit()
	if err := r.apply(r.batch(true)); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT string_agg(id || v, ',' ORDER BY id) FROM k", "1.00b,2a")
}

func TestOperationsFoldToTheLastState(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.do(0, change.Insert, "", "1,a,x,NULL")
	r.do(0, change.Insert, "", "2,b,x,2")
	r.do(0, change.Update, "", "1,a,?,5")    // the note is absent: it stays
	r.do(0, change.Delete, "2", "")          // inserted and deleted
	r.do(0, change.Insert, "", "3,c,x,3")    //
	r.do(0, change.Delete, "3", "")          //
	r.do(0, change.Insert, "", "3,cc,y,3")   // replaced
	r.do(0, change.Update, "3", "4,cc,?,3")  // moved
	r.do(0, change.Update, "", "4,cc,?,8")   // and updated under its new key
	r.do(0, change.Insert, "", "3,c,back,9") // the old key is in use again
	r.must()
	r.want("SELECT * FROM item ORDER BY id", "1,a,x,5 3,c,back,9 4,cc,y,8")
	r.want("SELECT changes, row_ops, filtered, frontier_offset, incarnation FROM segue.progress", "10,10,0,1,7")
	if len(r.asker.keys) != 0 || r.target.Stats().Halvings != 0 {
		t.Fatalf("asked %v, halved %d times", r.asker.keys, r.target.Stats().Halvings)
	}
}

// Rows of an older shape of their table lack columns: an insert leaves these to their defaults, and what is there stays.
func TestRowsThatLackColumns(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.do(0, change.Insert, "", "1,a,x,1")
	r.do(0, change.Insert, "", "2,b,x,2")
	r.do(0, change.Insert, "", "3,c,x,3")
	r.must()
	r.do(0, change.Read, "", "1,aa,?,?")   // there: the rest stays
	r.do(0, change.Delete, "2", "")        // gone, and there again:
	r.do(0, change.Insert, "", "2,bb,?,?") // nothing of the former row stays
	r.do(0, change.Update, "", "3,?,y,?")
	r.do(0, change.Insert, "", "3,cc,?,?")
	r.do(0, change.Insert, "", "4,d,?,?")
	r.do(0, change.Update, "", "4,?,z,?")
	r.must()
	r.want("SELECT * FROM item ORDER BY id", "1,aa,x,1 2,bb,NULL,7 3,cc,y,3 4,d,z,7")
	if len(r.asker.keys) != 0 {
		t.Errorf("asked for %v", r.asker.keys)
	}
}

func TestValuesKeepTheirText(t *testing.T) {
	r := newRig(t, `CREATE DOMAIN short AS varchar(3);
		CREATE TABLE v (id numeric PRIMARY KEY, c char(4), b bytea, d date, a text[], j jsonb, s short, n numeric(6,2), bits bit(3), r int4range)`, "v")
	values := []change.Row{
		{change.String("1.0"), change.String("ab  "), change.String(`\x00ff`), change.String("infinity"), change.String(`{"a,b",NULL,"\\"}`),
			change.String(`{"k": "v"}`), change.String("abc"), change.String("NaN"), change.String("101"), change.String("[1,5)")},
		{change.String("2"), change.Null(), change.String(`\x`), change.String("0044-03-15 BC"), change.String("[0:1]={a,b}"),
			change.Null(), change.String(""), change.String("1234.50"), change.Null(), change.String("empty")},
		{change.String("3"), change.String("\t\\N "), change.Null(), change.Null(), change.String("{}"),
			change.String(`"\n"`), change.Null(), change.Null(), change.Null(), change.Null()},
	}
	const dump = `SELECT t::text FROM v t ORDER BY id`
	for name, op := range map[string]change.Op{"upsert": change.Insert, "copy": change.Read} {
		r.conn.Exec(t.Context(), "TRUNCATE v")
		for _, v := range values {
			r.add(change.Mapped{SourceOp: op, Source: r.source(0), SourceKey: v[:1], Ops: []change.RowOp{{Op: op, Row: v}}})
		}
		for i := range copyRows { // enough rows for a COPY
			v := append(change.Row{change.String(fmt.Sprint(i + 10))}, values[2][1:]...)
			r.add(change.Mapped{SourceOp: op, Source: r.source(0), SourceKey: v[:1], Ops: []change.RowOp{{Op: op, Row: v}}})
		}
		before := r.target.Stats().Copied
		r.must()
		if copied := r.target.Stats().Copied > before; copied != (op == change.Read) {
			t.Fatalf("%s: copied is %v", name, copied)
		}
		got := r.rows(dump + " LIMIT 3")
		want := `(1.0,"ab  ","\\x00ff",infinity,"{""a,b"",NULL,""\\\\""}","{""k"": ""v""}",abc,NaN,101,"[1,5)") ` +
			`(2,,"\\x","0044-03-15 BC","[0:1]={a,b}",,"",1234.50,,empty) ` +
			"(3,\"\t\\\\N \",,,{},\"\"\"\\\\n\"\"\",,,,)"
		if got != want {
			t.Fatalf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	// 1.0 and 1.00 are one key: the later text wins.
	r.add(change.Mapped{SourceOp: change.Read, Source: r.source(0), Ops: []change.RowOp{{Op: change.Read, Row: append(change.Row{change.String("1.00")}, values[2][1:]...)}}})
	r.must()
	r.want("SELECT id::text FROM v WHERE id = 1", "1.00")
	// So a delete of the one comes before an insert of the other, whatever their texts.
	r.add(change.Mapped{SourceOp: change.Delete, Source: r.source(0), Ops: []change.RowOp{{Op: change.Delete, Key: row("1.00")}}})
	r.add(change.Mapped{SourceOp: change.Insert, Source: r.source(0), Ops: []change.RowOp{{Op: change.Insert, Row: append(change.Row{change.String("1.000")}, values[1][1:]...)}}})
	r.must()
	r.want("SELECT id::text, n::text FROM v WHERE id = 1", "1.000,1234.50")
}

// Only a row that nobody could find again under its source key stops the pipeline.
func TestTooLongValueOfARowThatRoamsStopsWithItsNameAndNotItsValue(t *testing.T) {
	r := newRigOf(t, itemDDL, func(ct *change.Target) { ct.Roams = true }, "item")
	r.do(0, change.Insert, "", "1,a,x,1")
	r.must()
	r.do(0, change.Insert, "", "2,b,x,1")
	r.commit()
	r.do(0, change.Insert, "", "3,secretsecretsecret,x,1")
	pos := r.pos
	r.commit()
	r.do(0, change.Insert, "", "4,d,x,1")
	r.commit()
	err := r.apply(r.batch(true))
	var refused *ApplyError
	if !errors.As(err, &refused) || refused.Pos != pos || refused.Target.Table != "item" || refused.Source.Schema != "legacy" {
		t.Fatal(err)
	}
	if fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "22001") {
		t.Fatalf("class %v, hint %q, %v", fault.ClassOf(err), fault.HintOf(err), err)
	}
	if err := r.target.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM item", "1")
	r.want("SELECT frontier_offset FROM segue.progress", "1")
}

func TestUniqueHandOverGoesChangeByChangeAndNoMoreThanItsPart(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	for i := range 40 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,n%d,x,1", i, i))
		if i%4 == 3 {
			r.commit()
		}
	}
	r.must()
	for i := range 40 {
		r.do(0, change.Update, "", fmt.Sprintf("%d,n%d,y,2", i, i))
		if i == 39 { // 20 and 21 trade names
			r.do(0, change.Update, "", "20,tmp,?,?")
			r.do(0, change.Update, "", "21,n20,?,?")
			r.do(0, change.Update, "", "20,n21,?,?")
			r.do(0, change.Delete, "5", "")
			r.do(0, change.Insert, "", "105,n5,z,2")
		}
		r.commit()
	}
	if err := r.apply(r.batch(true)); err != nil {
		t.Fatal(err)
	}
	if n := r.target.Stats().Halvings; n < 3 || n > 12 {
		t.Fatalf("%d halvings", n)
	}
	r.want("SELECT id, name FROM item WHERE id IN (5, 20, 105) ORDER BY id", "20,n21 105,n5")
}

func TestPartialUpdateWithoutRowIsAskedForBeforeTheCommit(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.do(0, change.Insert, "", "1,a,x,1")
	r.must()
	r.do(0, change.Update, "", "1,a2,?,1")
	r.do(0, change.Update, "", "2,b,?,1")
	r.do(0, change.Update, "", "3,c,whole,1")  // whole: an upsert
	r.do(0, change.Update, "8", "9,m,whole,1") // a whole row under a new key
	r.do(0, change.Update, "10", "11,m2,?,1")
	r.do(0, change.Update, "", "4,d,?,1")
	r.do(0, change.Read, "", "4,d,there,1") // arrives in the same batch
	r.asker.err = fault.Transient(errors.New("kafka is away"))
	r.commit()
	b := r.batch(true)
	if err := r.apply(b); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM item", "1")
	if err := r.target.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.asker.keys, r.asker.err = nil, nil
	if err := r.apply(b); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.asker.keys); got != "[legacy.item 2 legacy.item 11]" {
		t.Fatal(got)
	}
	r.want("SELECT id, note FROM item ORDER BY id", "1,x 3,whole 4,there 9,whole")
	r.want("SELECT source_schema, source_table, key_values[1], reason FROM segue.pending ORDER BY 3", "legacy,item,11,"+reasonNotFound+" legacy,item,2,"+reasonNotFound)
	pending, err := ReadPending(t.Context(), r.conn, "m", 10)
	if err != nil || len(pending) != 2 || r.target.Progress().Pending != 2 {
		t.Fatal(pending, err)
	}
	// Pending rows survive a restart, and go when they arrive: whole, or as deletes.
	r.reopen()
	r.do(0, change.Read, "", "2,b,read,1")
	r.must()
	r.do(0, change.Delete, "11", "")
	r.must()
	r.want("SELECT count(*) FROM segue.pending", "0")
	if n := r.target.Progress().Pending; n != 0 {
		t.Fatal(n)
	}
}

func TestWantIsAskedFor(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(0), SourceKey: row("5"), Want: row("5")})
	r.must()
	if got := fmt.Sprint(r.asker.keys); got != "[legacy.item 5]" {
		t.Fatal(got)
	}
	r.want("SELECT reason, key_values[1] FROM segue.pending", reasonIncomplete+",5")
	r.want("SELECT changes, filtered FROM segue.progress", "1,0")
	// A key change of a row that may be pending, with values missing, asks under the new key.
	r.do(0, change.Update, "5", "6,n,?,1")
	r.must()
	if got := fmt.Sprint(r.asker.keys); got != "[legacy.item 5 legacy.item 6]" {
		t.Fatal(got)
	}
}

func TestTruncatesOfOneStatementAreOne(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY);
		CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
		CREATE TABLE outside (id int PRIMARY KEY, c int REFERENCES c)`, "p", "c")
	fill := func() {
		r.do(0, change.Insert, "", "1")
		r.do(1, change.Insert, "", "1,1")
		r.must()
	}
	fill()
	r.do(0, change.Insert, "", "2") // in the same batch: its checks wait
	r.do(0, change.Truncate, "", "")
	r.do(1, change.Truncate, "", "")
	r.do(0, change.Insert, "", "3")
	r.must() // TRUNCATE is refused for the sake of "outside": the rows are deleted
	r.want("SELECT (SELECT string_agg(id::text, ' ') FROM p), (SELECT count(*) FROM c)", "3,0")
	if _, err := r.conn.Exec(t.Context(), "DROP TABLE outside"); err != nil {
		t.Fatal(err)
	}
	fill()
	r.want("SELECT pg_relation_filenode('c') = relfilenode, relfilenode = oid FROM pg_class WHERE relname = 'c'", "true,true")
	r.do(0, change.Truncate, "", "")
	r.do(1, change.Truncate, "", "")
	r.must()
	r.want("SELECT (SELECT count(*) FROM p) + (SELECT count(*) FROM c), relfilenode = oid FROM pg_class WHERE relname = 'c'", "0,false")

	r.cfg.Targets[0].SoleFeeder = false
	r.do(0, change.Truncate, "", "")
	r.commit()
	err := r.apply(r.batch(true))
	if fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "resync") {
		t.Fatal(err)
	}
}

func TestSlicesOfAHugeTransactionCommitAtItsBoundary(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.do(0, change.Insert, "", "1,a,x,1")
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Update, "", "2,b,?,1") // asked for in a slice
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT (SELECT count(*) FROM item), frontier_offset FROM segue.progress", "0,-1")
	// A claim takes the open transaction back; the writer comes again.
	if err := r.target.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Insert, "", "1,a,x,1")
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	// A slice with a unique violation goes by itself, what was before it stays.
	r.do(0, change.Insert, "", "2,b,x,1")
	r.do(0, change.Update, "", "1,c,x,1")
	r.do(0, change.Update, "", "2,a,x,1")
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Insert, "", "3,z,x,1")
	r.must()
	r.want("SELECT id, name FROM item ORDER BY id", "1,c 2,a 3,z")
	r.want("SELECT changes, (SELECT count(*) FROM segue.pending) FROM segue.progress", "5,0")
}

func TestForeignKeysAreCheckedAtTheCommitOnly(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, boss int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
		CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)`, "p", "c")
	r.do(1, change.Insert, "", "1,1") // the child first
	r.do(0, change.Insert, "", "1,2")
	r.do(0, change.Insert, "", "2,1")
	r.must()
	r.commit()
	r.do(0, change.Insert, "", "3,NULL")
	r.commit()
	r.do(1, change.Insert, "", "2,99")
	at := r.pos
	r.commit()
	if err := r.apply(r.batch(true)); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM p), (SELECT count(*) FROM c)", "1 2 3,1")
	r.want("SELECT key_values[1], code, epoch || ':' || lsn || '#' || seq FROM segue.parked", "2,23503,"+at.String())
}

func TestKeysThatTradePlacesInOneStatement(t *testing.T) {
	r := newRig(t, `CREATE TABLE k (id int GENERATED ALWAYS AS IDENTITY, v text, w text, g int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (id));
		CREATE TABLE l (id int PRIMARY KEY, v text, w text)`, "k", "l")
	for target := range 2 {
		for i := range 4 {
			r.do(target, change.Insert, "", fmt.Sprintf("%d,v%d,w", i, i))
		}
		r.must()
		// As a deferrable key at the source allows: no free place in between.
		r.do(target, change.Update, "1", "2,v1,?")
		r.do(target, change.Update, "2", "1,v2,?")
		r.do(target, change.Update, "3", "30,v3,?")
		r.must()
		table := r.cfg.Targets[target].Table.Name.SQL()
		r.want("SELECT id, v, w FROM "+table+" ORDER BY id", "0,v0,w 1,v2,w 2,v1,w 30,v3,w")
	}
	r.want("SELECT g FROM k ORDER BY id", "0 2 4 60")
}

func TestSettingsHoldWhateverTheSessionHas(t *testing.T) {
	r := newRig(t, `CREATE TABLE d (id int PRIMARY KEY, d date, b bytea)`, "d")
	if err := r.target.exec(t.Context(), "SET datestyle = 'German, DMY'", "SET lock_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Insert, "", "1,03/04/2024,NULL") // the fourth of March, under the pinned settings
	r.must()
	r.want("SELECT to_char(d, 'YYYY-MM-DD') FROM d", "2024-03-04")
}

func TestOneHugeTransactionIsHalvedInside(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	for i := range 2000 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,n%d,x,1", i, i))
	}
	r.must()
	for i := range 2000 { // one source transaction, with one hand-over of a unique value in it
		r.do(0, change.Update, "", fmt.Sprintf("%d,n%d,y,2", i, i))
		if i == 1999 {
			r.do(0, change.Update, "", "7,tmp,?,?")
			r.do(0, change.Update, "", "8,n7,?,?")
			r.do(0, change.Update, "", "7,n8,?,?")
		}
	}
	r.must()
	if n := r.target.Stats().Halvings; n > 20 {
		t.Fatalf("%d parts failed", n)
	}
	r.want("SELECT count(*) FILTER (WHERE note = 'y'), string_agg(name, ' ' ORDER BY id) FILTER (WHERE id IN (7, 8)) FROM item", "2000,n8 n7")
}

func TestPartialUpdateOfNobodyKnowsWhomStops(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(0), Ops: []change.RowOp{{Op: change.Update, Row: row("1,a,?,1")}}})
	r.commit()
	if err := r.apply(r.batch(true)); fault.ClassOf(err) != fault.ClassFatal || !errors.Is(err, errNoSourceKey) {
		t.Fatal(err)
	}
}

func TestTriggersAreToldOf(t *testing.T) {
	r := newRig(t, itemDDL+`; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
		CREATE TRIGGER audit BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION f()`, "item")
	if notes := strings.Join(r.target.Notes(), "; "); !strings.Contains(notes, "public.item") || !strings.Contains(notes, "audit") {
		t.Fatal(notes)
	}
}

func TestChangedTargetTableStopsWithItsName(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.rows("ALTER TABLE item DROP COLUMN note")
	r.do(0, change.Insert, "", "1,a,x,1")
	r.commit()
	err := r.apply(r.batch(true))
	if fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), "public.item") || !strings.Contains(err.Error(), "42703") {
		t.Fatal(err)
	}
}
