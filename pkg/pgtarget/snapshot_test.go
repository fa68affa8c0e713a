package pgtarget

import (
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/pgtest"
)

func TestSnapshotStandsAtItsPositionWhileTheStreamGoesOn(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.do(0, change.Insert, "", "1,a,x,1")
	r.must()
	at := r.target.Cursor().At
	held, err := ExportSnapshot(t.Context(), r.cfg, "mark", at, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- held.Hold(t.Context()) }()
	r.do(0, change.Insert, "", "2,b,x,1")
	r.must()
	s, err := ReadSnapshot(t.Context(), r.conn, "m", "mark")
	if err != nil || s == nil || s.At != at || s.ID != held.ID {
		t.Fatal(s, err)
	}
	other := pgtest.Connect(t, r.url)
	pgtest.Exec(t, other, "BEGIN ISOLATION LEVEL REPEATABLE READ", "SET TRANSACTION SNAPSHOT '"+s.ID+"'")
	if got := query(t, other, "SELECT count(*), (SELECT frontier_offset FROM segue.progress) FROM item"); got != "1,1" {
		t.Fatal(got)
	}
	pgtest.Exec(t, other, "COMMIT")
	if err := ReleaseSnapshot(t.Context(), r.conn, "m", "mark"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM segue.snapshots", "0")
	if s, err := ReadSnapshot(t.Context(), r.conn, "m", "mark"); s != nil || err != nil {
		t.Fatal(s, err)
	}
	// One that comes too late is refused: it would show something else.
	if _, err := ExportSnapshot(t.Context(), r.cfg, "late", at, time.Minute); err == nil {
		t.Fatal("exported at another position")
	}
	// One that nobody releases ends by itself.
	held, err = ExportSnapshot(t.Context(), r.cfg, "short", r.target.Cursor().At, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM segue.snapshots", "0")
}
