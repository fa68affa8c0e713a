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

func TestSchemaIsMadeOnceAndANewerOneIsRefused(t *testing.T) {
	url := pgtest.Database(t)
	errs := make(chan error)
	for range 4 { // at the same time
		conn := pgtest.Connect(t, url)
		go func() { errs <- EnsureSchema(t.Context(), conn) }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	conn := pgtest.Connect(t, url)
	pgtest.Exec(t, conn, "UPDATE segue.version SET version = 99")
	if err := EnsureSchema(t.Context(), conn); fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), "99") {
		t.Fatal(err)
	}
}

func TestMissingPrivilegeShowsItsSQL(t *testing.T) {
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	pgtest.Exec(t, conn, "DO $$ BEGIN CREATE ROLE segue_nobody; EXCEPTION WHEN duplicate_object THEN END $$", "SET ROLE segue_nobody")
	err := EnsureSchema(t.Context(), conn)
	var missing *PrivilegeError
	if !errors.As(err, &missing) || fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "CREATE SCHEMA") {
		t.Fatal(err)
	}
}

func TestTakeOverEndsTheOlderOwner(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.do(0, change.Insert, "", "1,a,x,1")
	r.must()
	old := r.target
	r.target = nil
	r.reopen() // a second process
	if got := r.target.Cursor(); got != old.Cursor() || got.Offset != 1 {
		t.Fatal(got)
	}
	r.do(0, change.Insert, "", "2,b,x,1")
	r.commit()
	b := r.batch(true)
	zombie := func() error {
		p, err := old.Prepare([]frontier.Batch[change.Mapped]{b})
		if err != nil {
			return err
		}
		return old.Apply(t.Context(), p)
	}
	if err := zombie(); fault.ClassOf(err) != fault.ClassTransient { // its backend is gone
		t.Fatal(err)
	}
	if err := old.Recover(t.Context()); !errors.Is(err, ErrTakenOver) || fault.ClassOf(err) != fault.ClassFatal {
		t.Fatal(err)
	}
	// Even with a connection that was made behind the pooler's back, its commit fails.
	if err := old.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := zombie(); !errors.Is(err, ErrTakenOver) {
		t.Fatal(err)
	}
	old.Close()
	r.want("SELECT id FROM item", "1")
	if err := r.apply(b); err != nil {
		t.Fatal(err)
	}
	// The same batch again, as a redelivery would bring it: the position does not fit.
	r.target.progress.At, r.target.progress.Offset = change.Position{}, -1
	if err := r.apply(b); !errors.Is(err, ErrTakenOver) {
		t.Fatal(err)
	}
}

func TestOtherMappingAndOtherModeAreRefused(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.cfg.Fingerprint = "g"
	r.reopen() // nothing is applied yet: nothing to protect
	r.do(0, change.Insert, "", "1,a,x,1")
	r.must()
	cfg := r.cfg
	cfg.Fingerprint = "h"
	_, err := Open(t.Context(), cfg)
	var mapping *FingerprintError
	if !errors.As(err, &mapping) || mapping.Target != "g" || !strings.Contains(fault.HintOf(err), "--accept-mapping") {
		t.Fatal(err)
	}
	cfg.AcceptMapping = true
	accepted, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
	r.want("SELECT fingerprint FROM segue.progress", "h")

	cfg.Mode = Staged
	_, err = Open(t.Context(), cfg)
	var mode *ModeError
	if !errors.As(err, &mode) || fault.ClassOf(err) != fault.ClassFatal {
		t.Fatal(err)
	}
	at := accepted.Cursor()
	if err := SwitchMode(t.Context(), r.conn, "m", Staged, frontier.Cursor{Offset: 5, At: change.Position{Epoch: 9}}); err == nil {
		t.Fatal("switched at another position")
	}
	if err := SwitchMode(t.Context(), r.conn, "m", Staged, frontier.Cursor{Offset: 55, Incarnation: 3, At: at.At}); err != nil {
		t.Fatal(err)
	}
	staged, err := Open(t.Context(), cfg)
	if err != nil || staged.Cursor().Offset != 55 || staged.Cursor().At != at.At {
		t.Fatal(err)
	}
	staged.Close()
	p, err := ReadProgress(t.Context(), r.conn, "m")
	if err != nil || p.Mode != Staged || p.Changes != 1 {
		t.Fatal(p, err)
	}
	if p, err := ReadProgress(t.Context(), r.conn, "other"); p != nil || err != nil {
		t.Fatal(p, err)
	}
}
