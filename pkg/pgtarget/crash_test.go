package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/request"
)

// killer ends the target's backend in the middle of a transaction, when it asks for rows.
type killer struct {
	r    *rig
	kill bool
}

func (k *killer) Ask(ctx context.Context, _ []request.Request) error {
	if !k.kill {
		return nil
	}
	_, err := k.r.conn.Exec(ctx, "SELECT pg_terminate_backend(backend_pid, 5000) FROM segue.progress")
	return err
}

func TestKilledBeforeTheCommitNothingCounts(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	k := &killer{r: r, kill: true}
	r.cfg.Asker = k
	r.reopen()
	r.do(0, change.Insert, "", "1,a,x,1")
	r.do(0, change.Update, "", "2,b,?,1")
	r.commit()
	b := r.batch(true)
	if err := r.apply(b); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatal(err)
	}
	before := r.target.Cursor()
	if err := r.target.Recover(t.Context()); err != nil || r.target.Cursor() != before {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM item", "0")
	k.kill = false
	if err := r.apply(b); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM segue.pending)", "1,1")
}

// lostSlice is a target whose connection went in the middle of a transaction, behind its first slice.
func lostSlice(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, itemDDL, "item")
	r.do(0, change.Insert, "", "1,a,x,1")
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.rows("SELECT pg_terminate_backend(backend_pid, 5000) FROM segue.progress")
	r.do(0, change.Insert, "", "2,a,x,1")
	r.commit()
	if err := r.apply(r.batch(true)); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatal(err)
	}
	return r
}

func TestLostOpenTransactionWantsTheSourceAgain(t *testing.T) {
	r := lostSlice(t)
	if err := r.target.Recover(t.Context()); !errors.Is(err, ErrRewind) {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM item", "0")
}

// The first slices of a transaction are lost with the connection; that is not forgotten while the server cannot be reached.
func TestLostOpenTransactionIsRememberedUntilTheServerIsBack(t *testing.T) {
	r := lostSlice(t)
	url := r.target.cfg.URL
	r.target.cfg.URL = "postgres://nobody@127.0.0.1:1/none?sslmode=disable&connect_timeout=1"
	if err := r.target.Recover(t.Context()); err == nil || errors.Is(err, ErrRewind) {
		t.Fatalf("with the server away: %v", err)
	}
	r.target.cfg.URL = url
	if err := r.target.Recover(t.Context()); !errors.Is(err, ErrRewind) {
		t.Fatalf("with the server back: %v", err)
	}
	if err := r.target.Recover(t.Context()); err != nil {
		t.Fatalf("told once: %v", err)
	}
}

// An interrupted call leaves either everything or nothing, and the row says which.
func TestInterruptedAnywhereTheRowSaysWhatIsThere(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	for i := range 60 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,n%d,x,1", i, i))
		r.commit()
		b := r.batch(true)
		p, err := r.target.Prepare(one(b))
		if err != nil {
			t.Fatal(err)
		}
		for applied := false; !applied; {
			// The backend is killed at a point that moves from the transaction's begin to behind its end.
			killed := make(chan struct{})
			go func() {
				defer close(killed)
				for range i {
					r.rows("SELECT 1")
				}
				r.rows("SELECT pg_terminate_backend(backend_pid) FROM segue.progress")
			}()
			err := r.target.Apply(t.Context(), p)
			<-killed
			if err == nil {
				break
			}
			if fault.ClassOf(err) != fault.ClassTransient {
				t.Fatal(err)
			}
			for rerr := err; rerr != nil; {
				rerr = r.target.Recover(t.Context())
				if rerr != nil && fault.ClassOf(rerr) != fault.ClassTransient {
					t.Fatal(rerr)
				}
			}
			applied = r.target.Cursor() == p.End()
			r.want("SELECT count(*) = (SELECT frontier_offset FROM segue.progress) OR count(*) = 0 FROM item", "true")
			if !applied {
				if err := r.target.Apply(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				applied = true
			}
		}
		r.target.Release(p)
	}
	r.want("SELECT count(*), (SELECT changes FROM segue.progress) FROM item", "60,60")
}

func TestLockTimeoutIsTransient(t *testing.T) {
	r := newRig(t, itemDDL, "item")
	r.cfg.LockTimeout = 100 * time.Millisecond
	r.reopen()
	r.rows("BEGIN")
	r.rows("LOCK TABLE item IN EXCLUSIVE MODE")
	r.do(0, change.Insert, "", "1,a,x,1")
	r.commit()
	b := r.batch(true)
	if err := r.apply(b); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatal(err)
	}
	r.rows("ROLLBACK")
	if err := r.target.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.apply(b); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM item", "1")
}
