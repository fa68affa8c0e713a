package applier

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
)

// until waits for a condition.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: never\n%s", what, r.logs)
		}
		r.want("SELECT 'a look'", "a look") // takes a moment
	}
}

// lockRig is a rig whose applier gives up a lock soon and comes again late.
func lockRig(t *testing.T) (*rig, *waiting) {
	t.Helper()
	r, w := newRig(t), &waiting{}
	r.cfg.Target.LockTimeout, r.cfg.Retry = 100*time.Millisecond, 3*time.Second
	r.deps.Waiting = w.say
	return r, w
}

const lockedBySegue = `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'segue test' AND l.locktype = 'relation'
	AND l.relation IN ('p'::regclass, 'c'::regclass)`

func TestALockedTableIsWaitedForWithoutHoldingOthersUp(t *testing.T) {
	r, w := lockRig(t)
	_, stop := r.start()
	r.reach(r.batch(true, nil, insert(0, "1", "a")))
	owner := pgtest.Connect(t, r.cfg.Target.URL)
	pgtest.Exec(t, owner, "BEGIN", "LOCK TABLE p IN ACCESS EXCLUSIVE MODE")
	at := r.batch(true, nil, insert(1, "1", "1"), insert(0, "2", "b"))
	r.until("the wait is told", func() bool { return w.last() != "" })
	if said := w.last(); !strings.Contains(said, "public.p") || !strings.Contains(said, "lock timeout") {
		t.Fatalf("it says %q", said)
	}
	r.want("SELECT ("+lockedBySegue+")::text", "0") // neither held nor waited for
	pgtest.Exec(t, owner, "COMMIT")
	r.reach(at)
	r.until("it goes on", func() bool { return w.last() == "" })
	_ = stop()
	r.want("SELECT count(*)::text FROM p", "2")
}

// Who wants a lock that fits the owner's is in the queue behind the applier, but not for longer than that waits.
func TestOthersPassTheApplierInTheQueue(t *testing.T) {
	r, w := lockRig(t)
	_, stop := r.start()
	owner, other := pgtest.Connect(t, r.cfg.Target.URL), pgtest.Connect(t, r.cfg.Target.URL)
	pgtest.Exec(t, owner, "BEGIN", "LOCK TABLE p IN SHARE MODE")
	at := r.batch(true, nil, insert(0, "1", "a"))
	r.until("the applier waits", func() bool { return w.last() != "" })
	pgtest.Exec(t, other, "SET lock_timeout = '2s'", "BEGIN", "LOCK TABLE p IN SHARE MODE", "COMMIT")
	pgtest.Exec(t, owner, "COMMIT")
	r.reach(at)
	_ = stop()
}

// Of a large transaction that is open on the target, nothing is held while the applier waits for the rest.
func TestAnOpenTransactionIsLetGoForTheWait(t *testing.T) {
	r, w := lockRig(t)
	a, err := Open(t.Context(), r.cfg, r.deps)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(t.Context(), r.source) }()
	r.reach(r.batch(true, nil, insert(0, "0", "a"), insert(1, "0", "0"))) // its statements are known: they fail inside the savepoint
	r.batch(false, nil, insert(1, "1", "1"))
	r.wait(lockedBySegue+" AND l.mode = 'RowExclusiveLock' AND l.relation = 'c'::regclass AND a.state = 'idle in transaction'", 1)
	owner, other := pgtest.Connect(t, r.cfg.Target.URL), pgtest.Connect(t, r.cfg.Target.URL)
	pgtest.Exec(t, owner, "BEGIN", "LOCK TABLE p IN SHARE MODE")
	r.batch(true, nil, insert(0, "1", "a"))
	r.until("the applier waits", func() bool { return w.last() != "" })
	pgtest.Exec(t, other, "SET lock_timeout = '1s'", "BEGIN", "LOCK TABLE c IN ACCESS EXCLUSIVE MODE", "COMMIT")
	pgtest.Exec(t, owner, "COMMIT")
	if err := <-done; !errors.Is(err, pgtarget.ErrRewind) || fault.ClassOf(err) != fault.ClassTransient {
		t.Fatal(err) // what was let go is read again
	}
	r.want("SELECT count(*)::text FROM c", "1")
}

// Traffic without an end: whoever alters a table gets it between two transactions.
func TestAnAlterTableComesBetweenTwoTransactions(t *testing.T) {
	r := newRig(t)
	_, stop := r.start()
	ended := make(chan struct{})
	fed := make(chan change.Position)
	go func() {
		var at change.Position
		for i := 0; ; i++ {
			select {
			case <-ended:
				fed <- at
				return
			default:
			}
			if len(r.source.events) < 50 {
				at = r.batch(true, nil, insert(0, fmt.Sprint(i), "name"))
			}
		}
	}()
	r.logs.wait(t, "target opened")
	owner := pgtest.Connect(t, r.cfg.Target.URL)
	for i := range 10 {
		pgtest.Exec(t, owner, "SET lock_timeout = '10s'", fmt.Sprintf("ALTER TABLE p ADD COLUMN more%d int NOT NULL DEFAULT 5", i))
	}
	close(ended)
	r.reach(<-fed)
	_ = stop()
	r.want("SELECT (count(*) = (SELECT changes FROM segue.progress) AND min(more9) = 5)::text FROM p", "true")
}

// What fits goes on, whatever the server has to plan anew for it.
func TestAlteredTargetsGoOnWhileTheyFit(t *testing.T) {
	r := newRig(t)
	_, stop := r.start()
	for i, sql := range []string{
		"SELECT 1",
		"ALTER TABLE p ALTER COLUMN id TYPE bigint",
		"ALTER TABLE p ALTER COLUMN name TYPE varchar(100)",
		"ALTER TABLE p ADD COLUMN first int; ALTER TABLE p DROP COLUMN first",
		"ALTER TABLE p RENAME TO was; CREATE TABLE p (name text, id int PRIMARY KEY); INSERT INTO p (id, name) SELECT id, name FROM was",
		"ALTER TABLE p ADD COLUMN n int; UPDATE p SET n = 1; ALTER TABLE p DROP CONSTRAINT p_pkey1; CREATE UNIQUE INDEX ON p (id)",
	} {
		pgtest.Exec(t, r.conn, sql)
		r.batch(true, nil, insert(0, fmt.Sprint(10*i), "a"))
		r.reach(r.batch(true, nil, insert(0, fmt.Sprint(10*i), "b"), insert(0, fmt.Sprint(10*i+1), "c")))
	}
	_ = stop()
	r.want("SELECT string_agg(name, '' ORDER BY id) FROM p", "bcbcbcbcbcbc")
}

// What does not fit stops, and says which table and column, and no value.
func TestAlteredTargetsThatDoNotFitSaySo(t *testing.T) {
	for _, tt := range []struct{ sql, value, says string }{
		{"ALTER TABLE p ALTER COLUMN name TYPE int USING 1", "771177", "column name is integer, the mapping was made for text"},
		{"ALTER TABLE p ALTER COLUMN id TYPE bigint", "771177", "column id is bigint, the mapping was made for integer"},
		{"ALTER TABLE p DROP COLUMN name", "771177", "column name is gone"},
		{"ALTER TABLE p ADD COLUMN must int NOT NULL", "771177", "column must is NOT NULL without a default, and the mapping does not set it"},
		{"ALTER TABLE p DROP CONSTRAINT p_pkey CASCADE; ALTER TABLE p ADD PRIMARY KEY (name)", "771177", `its key is ["name"], the mapping was made for ["id"]`},
		{"DROP TABLE p CASCADE", "771177", "there is no such table"},
		{"ALTER TABLE p RENAME TO was; CREATE VIEW p AS SELECT id, upper(name) AS name FROM was", "771177", "it is a view, not a table"},
	} {
		r := newRig(t)
		a, err := Open(t.Context(), r.cfg, r.deps)
		if err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, r.conn, tt.sql)
		r.batch(true, nil, insert(0, "5000771177", tt.value))
		err = a.Run(t.Context(), r.source)
		if err == nil || fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "public.p") {
			t.Errorf("%s: %v", tt.sql, err)
		}
		if strings.Contains(fmt.Sprint(err)+fault.HintOf(err)+r.logs.String(), "771177") {
			t.Errorf("%s: a value is told: %v, %s", tt.sql, err, fault.HintOf(err))
		}
	}
}
