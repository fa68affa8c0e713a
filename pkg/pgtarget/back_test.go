package pgtarget

import (
	"errors"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/pgtest"
)

// remembered is a rig with three transactions applied, and the progress row and the rows as they were behind the first one: what a crash of a
// server that commits asynchronously leaves, and a standby that is promoted too early.
func remembered(t *testing.T) (r *rig, back func(), later []frontier.Batch[change.Mapped]) {
	t.Helper()
	r = newRig(t, itemDDL, "item")
	r.do(0, change.Insert, "", "1,a,x,1")
	r.must()
	pgtest.Exec(t, r.conn, "CREATE TABLE kept AS SELECT * FROM segue.progress", "CREATE TABLE kept_item AS SELECT * FROM item")
	for _, do := range []func(){
		func() { r.do(0, change.Insert, "", "2,b,x,1") },
		func() { r.do(0, change.Update, "1", "3,c,x,1") },
	} {
		do()
		r.commit()
		b := r.batch(true)
		if err := r.apply(b); err != nil {
			t.Fatal(err)
		}
		later = append(later, b)
	}
	return r, func() {
		pgtest.Exec(t, r.conn, "SELECT pg_terminate_backend(backend_pid, 5000) FROM segue.progress",
			"BEGIN; TRUNCATE item; INSERT INTO item SELECT * FROM kept_item; DELETE FROM segue.progress; INSERT INTO segue.progress SELECT * FROM kept; COMMIT")
	}, later
}

// A target that has lost commits is read for again from where it stands, whatever the applier was doing when it noticed: what comes next
// would be put on top of a gap.
func TestATargetThatLostCommitsIsReadForAgain(t *testing.T) {
	r, back, later := remembered(t)
	back()
	r.do(0, change.Insert, "", "4,d,x,1")
	r.commit()
	next := r.batch(true)
	if err := r.apply(next); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatal(err)
	}
	err := r.target.Recover(t.Context())
	if !errors.Is(err, ErrRewind) || !strings.Contains(err.Error(), "lost its last commits") {
		t.Fatalf("a target that went back: %v", err)
	}
	for _, b := range append(later, next) {
		if err := r.apply(b); err != nil {
			t.Fatal(err)
		}
	}
	r.want("SELECT string_agg(id || name, ' ' ORDER BY id), (SELECT changes FROM segue.progress) FROM item", "2b 3c 4d,4")
}

// The take-over itself may be among what is lost: the row then names the owner before, and that is no other process.
func TestALostTakeOverIsTakenAgain(t *testing.T) {
	r, back, _ := remembered(t)
	first := r.target
	r.target = nil
	r.reopen()
	back()
	_ = r.target.exec(t.Context(), "SELECT 1")
	if err := r.target.Recover(t.Context()); !errors.Is(err, ErrRewind) {
		t.Fatalf("the row names the owner before: %v", err)
	}
	if r.target.Cursor().Offset != 1 {
		t.Fatal(r.target.Cursor())
	}
	// The owner before is still no owner.
	_ = first.exec(t.Context(), "SELECT 1")
	if err := first.Recover(t.Context()); !errors.Is(err, ErrTakenOver) {
		t.Fatal(err)
	}
}

// A row that is gone altogether is one at the beginning.
func TestALostProgressRowIsTheBeginning(t *testing.T) {
	r, _, _ := remembered(t)
	pgtest.Exec(t, r.conn, "SELECT pg_terminate_backend(backend_pid, 5000) FROM segue.progress", "DROP SCHEMA segue CASCADE", "TRUNCATE item")
	_ = r.target.exec(t.Context(), "SELECT 1")
	if err := r.target.Recover(t.Context()); !errors.Is(err, ErrRewind) || r.target.Cursor().Offset != -1 {
		t.Fatal(err, r.target.Cursor())
	}
}

// Where the word on the initial load was lost, or its answer, foreign keys are not as this process thinks: it begins again.
func TestALostWordOnTheLoadBeginsAgain(t *testing.T) {
	r, _, _ := remembered(t)
	if _, err := r.target.Loaded(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "UPDATE segue.progress SET loaded = false", "SELECT pg_terminate_backend(backend_pid, 5000) FROM segue.progress")
	_ = r.target.exec(t.Context(), "SELECT 1")
	if err := r.target.Recover(t.Context()); !errors.Is(err, ErrRewind) || r.target.Progress().Loaded {
		t.Fatal(err)
	}
}

// Who was let in once waits while the server lets nobody in, and says why; who was never let in stops.
func TestARefusedConnectionIsWaitedForByWhoWasLetIn(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	good := r.target.cfg.URL
	r.rows("SELECT pg_terminate_backend(backend_pid, 5000) FROM segue.progress")
	_ = r.target.exec(t.Context(), "SELECT 1")
	r.target.cfg.URL += "&dbname=there_is_none"
	if err := r.target.Recover(t.Context()); fault.ClassOf(err) != fault.ClassTransient || !strings.Contains(err.Error(), "3D000") || fault.HintOf(err) == "" {
		t.Fatal(err)
	}
	cfg := r.cfg
	cfg.URL = r.target.cfg.URL
	if _, err := Open(t.Context(), cfg); fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), "3D000") {
		t.Fatal(err)
	}
	r.target.cfg.URL = good
	if err := r.target.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
}
