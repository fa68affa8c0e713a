package pgtarget

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"segue/pkg/change"
)

// A change that does nothing and joins is counted once.
func TestCountersOfAFilteredChangeThatJoins(t *testing.T) {
	r := newParkedRig(t)
	r.stub(change.Insert, "", "1")
	r.must()
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(0), SourceKey: row("1")})
	r.must()
	r.want(parkedSQL, "1:insert:too_large:2")
	r.want("SELECT changes, row_ops, filtered, parked FROM segue.progress", "2,0,0,2")
}

// In steps, a row that is tried again later must not come behind the change that gave it another key.
func TestARowThatMovedOnIsNotPutInAgain(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, u text UNIQUE)`, "p")
	r.do(0, change.Insert, "", "1,x")
	r.must()
	r.target.wary, r.target.stepRows = 1, 0
	r.do(0, change.Insert, "", "2,w")
	r.do(0, change.Update, "", "1,y")
	r.do(0, change.Update, "", "2,x")
	r.moveOf(0, "2", "3,v")
	r.must()
	r.want(parkedCodesSQL, "")
	r.want("SELECT id || u FROM p ORDER BY 1", "1y 3v")
}

// What a delete does to the rows that refer to it is not the fault of its own values.
func TestADeleteIsNotRefusedAlone(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int NOT NULL REFERENCES p ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED)`, "p", "c")
	r.do(0, change.Insert, "", "1")
	r.do(1, change.Insert, "", "10,1")
	r.must()
	r.target.wary, r.target.stepRows = 1, 0
	r.do(1, change.Delete, "10", "")
	r.do(0, change.Delete, "1", "")
	r.must()
	r.want(parkedCodesSQL, "")
	r.want("SELECT (SELECT count(*) FROM p), (SELECT count(*) FROM c)", "0,0")
}

// A table is emptied in the middle of a transaction whose end does not hold yet.
func TestATruncateDoesNotCheckTooEarly(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, u text UNIQUE DEFERRABLE INITIALLY DEFERRED); CREATE TABLE q (id int PRIMARY KEY)`, "p", "q")
	r.do(0, change.Insert, "", "1,a")
	r.do(1, change.Insert, "", "1")
	r.must()
	r.do(0, change.Insert, "", "2,a")
	r.do(1, change.Truncate, "", "")
	r.do(0, change.Delete, "1", "")
	r.commit()
	r.do(1, change.Insert, "", "3")
	r.must()
	r.want(parkedCodesSQL, "")
	r.want("SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM p), (SELECT string_agg(id::text, ' ') FROM q)", "2,3")
}

// What people have given up since the last commit is not taken for parked at the end of the load.
func TestOrphansAfterADiscard(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)`, "p", "c")
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.do(1, change.Read, "", "1,77")
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(1), SourceKey: row("1"), Fault: &change.Fault{Stage: "reader", Code: change.FaultTooLarge, Text: "too large"}})
	r.must()
	if _, err := Discard(t.Context(), r.conn, Decision{Migration: "m", Who: "w", Reason: "r", Match: func(*Parked) bool { return true }}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.target.Loaded(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want(parkedCodesSQL, "c:1:read:23503:1")
	r.do(0, change.Insert, "", "1")
	r.must()
	if p := r.target.Progress(); p.ParkedRows != 1 {
		t.Errorf("%d", p.ParkedRows)
	}
}

// A whole transaction that shares a plan with the beginning of a huge one is held to its own end.
func TestATransactionBeforeASliceIsChecked(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(1, change.Insert, "", "10,77,x")
	r.commit()
	r.do(0, change.Insert, "", "1,a,n,1")
	r.do(1, change.Insert, "", "11,2,x") // its parent comes with the next slice
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Insert, "", "2,b,n,1")
	r.must()
	r.want(parkedCodesSQL, "c:10:insert:23503:1")
	r.want("SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM p), (SELECT string_agg(id::text, ' ') FROM c)", "1 2,11")
}

// A row that joined a parked one was not applied: its key need not be one that the target can read.
func TestJoinedRowsAreNotBlamed(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(1, change.Insert, "", "ten,NULL,x")
	r.must()
	r.do(1, change.Update, "", "ten,1,?")
	r.do(1, change.Insert, "", "11,77,x")
	r.must()
	r.want(parkedCodesSQL, "c:11:insert:23503:1 c:ten:insert:22P02:2")
}

// A truncate of a table whose deferred constraint breaks is not blamed: it is done, and the rows behind it are parked.
func TestATruncateIsNotBlamed(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, u text UNIQUE DEFERRABLE INITIALLY DEFERRED)`, "p")
	r.do(0, change.Insert, "", "1,a")
	r.must()
	r.do(0, change.Truncate, "", "")
	r.do(0, change.Insert, "", "2,b")
	r.do(0, change.Insert, "", "3,b")
	r.must()
	r.want(parkedCodesSQL, "p:2:insert:23505:1 p:3:insert:23505:1")
	r.want("SELECT count(*) FROM p", "0")
}

// MATCH FULL is broken by a reference that is given in part.
func TestMatchFull(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (a int, b int, PRIMARY KEY (a, b)); CREATE TABLE c (id int PRIMARY KEY, a int, b int,
		FOREIGN KEY (b, a) REFERENCES p (b, a) MATCH FULL DEFERRABLE INITIALLY DEFERRED)`, "p", "c")
	r.do(0, change.Insert, "", "1,2")
	r.do(1, change.Insert, "", "1,1,2")
	r.do(1, change.Insert, "", "2,NULL,2")
	r.do(1, change.Insert, "", "3,NULL,NULL")
	r.do(1, change.Insert, "", "4,2,1")
	r.must()
	r.want(parkedCodesSQL, "c:2:insert:23503:1 c:4:insert:23503:1")
	r.want("SELECT id FROM c ORDER BY id", "1 3")
}

// A foreign key goes by its own equality.
func TestAForeignKeyOfAnotherEquality(t *testing.T) {
	r := newRig(t, `CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE p (id citext PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p citext REFERENCES p DEFERRABLE INITIALLY DEFERRED)`, "p", "c")
	r.do(0, change.Insert, "", "abc")
	r.do(1, change.Insert, "", "1,ABC")
	r.do(1, change.Insert, "", "2,no")
	r.must()
	r.want(parkedCodesSQL, "c:2:insert:23503:1")
}

// A parent that is refused a second time, for what it is now, still brings the rows that wait for it once it is there.
func TestAParentThatIsParkedAgainBringsItsRows(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(0, change.Insert, "", "1,a,toolong,1")
	r.do(1, change.Insert, "", "10,1,x")
	r.must()
	r.do(0, change.Update, "", "1,a,toolong,2")
	r.must()
	r.reopen()
	r.do(0, change.Read, "", "1,a,n,1")
	r.must()
	if !slices.Contains(r.asker.keys, "legacy.c 10") {
		t.Fatalf("asked for %v", r.asker.keys)
	}
}

// A row that is parked again and again takes no more memory than one that is parked once.
func TestAHotRowThatWaitsIsRememberedOnce(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(0, change.Insert, "", "1,a,toolong,1")
	r.do(1, change.Insert, "", "10,1,x")
	r.must()
	for i := range 12 {
		r.do(1, change.Update, "", fmt.Sprintf("10,1,x%d", i))
		r.must()
	}
	n := 0
	for _, w := range r.target.parked.waiting {
		n += len(w)
	}
	if n != 1 {
		t.Errorf("%d", n)
	}
	r.do(0, change.Read, "", "1,a,n,1")
	r.must()
	if len(r.asker.keys) != 1 {
		t.Errorf("asked for %v", r.asker.keys)
	}
}

// A parent that is parked anew has its new position named by those that wait for it, and only by them.
func TestTheCauseFollowsTheParent(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(0, change.Insert, "", "5,e,n,1")
	r.must()
	r.moveOf(0, "5", "6,e,toolong,1") // parks 5 and 6 since one position
	r.do(1, change.Insert, "", "10,6,x")
	r.do(0, change.Insert, "", "1,a,toolong,1")
	r.do(1, change.Insert, "", "11,1,x")
	r.must()
	r.do(0, change.Update, "", "1,a,toolong,2")
	one := r.pos
	r.commit()
	r.do(0, change.Insert, "", "5,f,toolong,1") // another row, parked under the key that was left
	r.must()
	r.want("SELECT key_values[1] FROM segue.parked WHERE cause = '"+one.String()+"'", "11")
	r.do(0, change.Delete, "5", "")
	r.must()
	if len(r.asker.keys) > 0 {
		t.Fatalf("asked for %v", r.asker.keys)
	}
	r.do(0, change.Read, "", "6,e,n,1")
	r.must()
	if got := strings.Join(r.asker.keys, " "); got != "legacy.c 10" {
		t.Fatalf("asked for %s", got)
	}
	r.reopen()
	r.do(0, change.Truncate, "", "")
	r.must()
	if got := strings.Join(r.asker.keys, " "); !strings.Contains(got, "legacy.c 11") {
		t.Fatalf("asked for %s", got)
	}
}
