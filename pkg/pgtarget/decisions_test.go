package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgtest"
	"segue/pkg/request"
)

// decide gives up the parked rows with these keys.
func (r *rig) decide(keys ...string) []Parked {
	r.t.Helper()
	given, err := Discard(r.t.Context(), r.conn, Decision{Migration: "m", Who: "somebody", Reason: "not wanted", Match: byKey(keys...)})
	if err != nil {
		r.t.Fatal(err)
	}
	return given
}

func byKey(keys ...string) func(*Parked) bool {
	return func(p *Parked) bool {
		for _, k := range keys {
			if text(p.Key) == k {
				return true
			}
		}
		return false
	}
}

// decider gives rows up when the applier asks for others: in the middle of its transaction.
type decider struct {
	r    *rig
	keys []string
}

func (d *decider) Ask(context.Context, []request.Request) error {
	if d.keys != nil {
		d.r.decide(d.keys...)
		d.keys = nil
	}
	return nil
}

// blocked waits until some backend of the database waits for a lock.
func blocked(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if query(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") != "0" {
			return
		}
	}
	t.Error("nobody waits for the lock")
}

const logSQL = `SELECT string_agg(action || ':' || key_values[1] || ':' || coalesce(code, '-'), ' ' ORDER BY id) FROM segue.parked_log`

func TestDiscardedRowsAreWrittenDownAndNoMoreSetAside(t *testing.T) {
	r := newParkedRig(t)
	r.do(0, change.Insert, "", "1,a,b")
	r.must()
	r.stub(change.Update, "", "1")
	r.stub(change.Insert, "", "2")
	r.stub(change.Insert, "", "3")
	r.must()
	r.do(0, change.Update, "", "1,joined,?")
	r.must()
	given := r.decide("1", "3")
	if len(given) != 2 || given[0].Changes != 2 || given[0].Fault.Code != change.FaultTooLarge {
		t.Fatalf("given up: %+v", given)
	}
	r.want(parkedSQL, "2:insert:too_large:1")
	r.want("SELECT action || ' ' || who || ' ' || reason || ' ' || key_values[1] || ' ' || op || ' ' || stage || ' ' || code || ' ' || size || ' ' || changes || ' ' || (last_position <> position) FROM segue.parked_log WHERE id > 3 ORDER BY id",
		"discarded somebody not wanted 1 update reader too_large 60000000 2 true discarded somebody not wanted 3 insert reader too_large 60000000 1 false")
	r.want("SELECT count(*) FROM segue.parked_log l WHERE action = 'discarded' AND EXISTS (SELECT FROM segue.parked_log p WHERE p.action = 'parked' AND p.position = l.position AND p.key_values = l.key_values)", "2")

	// The applier's list is older than the decision: the update meets the row that the target has, and one that is not there is asked for.
	r.do(0, change.Update, "", "1,later,?")
	r.do(0, change.Update, "", "3,later,?")
	r.do(0, change.Update, "", "2,later,?")
	r.must()
	r.want("SELECT id || a || big FROM p ORDER BY id", "1laterb")
	r.want(parkedSQL, "2:insert:too_large:2")
	if got := strings.Join(r.asker.keys, " "); got != "legacy.p 3" {
		t.Errorf("asked for %q, want the row that is not there", got)
	}
	r.want("SELECT changes || ' ' || parked || ' ' || decisions FROM segue.progress", "8 5 1")
	if p := r.target.Progress(); p.ParkedRows != 1 || p.Decisions != 1 {
		t.Errorf("in memory: %+v", p)
	}
	if r.decide("77") != nil {
		t.Error("a row that is not parked was given up")
	}
	r.want("SELECT decisions FROM segue.progress", "1")
}

// A row that is given up while the applier's transaction is open, which counts on the row being parked: the transaction does not
// commit, and the change is applied.
func TestDiscardInTheMiddleOfATransaction(t *testing.T) {
	r := newParkedRig(t)
	d := &decider{r: r}
	r.cfg.Asker = d
	r.reopen()
	r.do(0, change.Insert, "", "1,a,b")
	r.must()
	r.stub(change.Update, "", "1")
	r.stub(change.Insert, "", "5")
	r.must()
	d.keys = []string{"1"}
	r.do(0, change.Update, "", "1,partial,?") // would join
	r.do(0, change.Update, "", "5,partial,?")
	r.do(0, change.Update, "", "9,x,?") // is not there: it is asked for, and the decision comes then
	r.must()
	r.want("SELECT id || a || big FROM p ORDER BY id", "1partialb")
	r.want(parkedSQL, "5:insert:too_large:2")
	r.want("SELECT changes || ' ' || parked FROM segue.progress", "6 3")
	r.want(logSQL, "parked:1:too_large parked:5:too_large discarded:1:too_large")
	r.want("SELECT count(*) FROM segue.pending", "1")

	d.keys = []string{"5"}
	r.do(0, change.Read, "", "5,r,s") // supersedes what is given up at the same time: the decision was first
	r.do(0, change.Update, "", "10,x,?")
	r.must()
	r.want("SELECT id || a || big FROM p ORDER BY id", "1partialb 5rs")
	r.want(logSQL, "parked:1:too_large parked:5:too_large discarded:1:too_large discarded:5:too_large")
}

// A decision and a commit that meet at the progress row: one waits for the other, and the second sees what the first did.
func TestDiscardAndCommitMeet(t *testing.T) {
	for name, meets := range map[string]struct {
		does func(*rig)
		want string
	}{
		"of another row":     {func(r *rig) { r.do(0, change.Update, "", "2,x,y") }, "1ab 2xy"},
		"of the row":         {func(r *rig) { r.do(0, change.Update, "", "1,x,?") }, "1xb 2ab"},
		"that parks another": {func(r *rig) { r.stub(change.Update, "", "2"); r.do(0, change.Update, "", "1,x,?") }, "1xb 2ab"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newParkedRig(t)
			r.do(0, change.Insert, "", "1,a,b")
			r.do(0, change.Insert, "", "2,a,b")
			r.must()
			r.stub(change.Update, "", "1")
			r.must()
			meets.does(r)
			r.commit()
			b := r.batch(true)
			applied := make(chan error, 1)
			watch := pgtest.Connect(t, r.url)
			_, err := Discard(t.Context(), r.conn, Decision{Migration: "m", Who: "w", Reason: "r", Match: func(p *Parked) bool {
				go func() { applied <- r.apply(b) }()
				blocked(t, watch)
				return byKey("1")(p)
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := <-applied; err != nil {
				t.Fatal(err)
			}
			r.want("SELECT id || a || big FROM p ORDER BY id", meets.want)
			r.want("SELECT count(*) FROM segue.parked WHERE key_values = '{1}'", "0")
			if got, want := fmt.Sprint(r.target.Progress().ParkedRows), r.rows("SELECT count(*) FROM segue.parked"); got != want {
				t.Errorf("%s rows parked in memory, %s on the target", got, want)
			}
		})
	}
}

// A huge transaction of which slices are open when the decision comes: what is open is lost, and the source is read again from the last
// commit.
func TestDiscardBesideOpenSlices(t *testing.T) {
	r := newParkedRig(t)
	r.do(0, change.Insert, "", "1,a,b")
	r.must()
	r.stub(change.Update, "", "1")
	r.must()
	first := func() { r.do(0, change.Update, "", "1,slice,?"); r.do(0, change.Insert, "", "2,a,b") }
	first()
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.decide("1")
	before := r.target.Cursor()
	r.do(0, change.Insert, "", "3,a,b")
	r.commit()
	if err := r.apply(r.batch(true)); !errors.Is(err, ErrRewind) || fault.ClassOf(err) != fault.ClassTransient {
		t.Fatalf("got %v, want that the source is to be read again", err)
	}
	if r.target.Cursor() != before {
		t.Error("the target has moved")
	}
	r.want("SELECT count(*) FROM p", "1")
	first()
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Insert, "", "3,a,b")
	r.must()
	r.want("SELECT id || a || big FROM p ORDER BY id", "1sliceb 2ab 3ab")
	r.want("SELECT changes || ' ' || parked FROM segue.progress", "5 1")
	r.want(parkedSQL, "")
}

// The list cannot be read for a while, behind a decision beside open slices. They are gone all the same: their transaction's rest must not commit
// alone.
func TestDiscardBesideOpenSlicesWhereTheListIsLocked(t *testing.T) {
	r := newParkedRig(t)
	r.cfg.LockTimeout = 100 * time.Millisecond
	r.reopen()
	r.stub(change.Insert, "", "1")
	r.must()
	first := func() {
		r.do(0, change.Insert, "", "2,a,b")
		if err := r.apply(r.batch(false)); err != nil {
			t.Fatal(err)
		}
	}
	first()
	r.decide("1")
	other := pgtest.Connect(t, r.url)
	pgtest.Exec(t, other, "BEGIN; LOCK TABLE segue.parked")
	r.do(0, change.Insert, "", "3,a,b")
	r.commit()
	last := r.batch(true)
	if err := r.apply(last); fault.ClassOf(err) != fault.ClassTransient {
		t.Fatal(err)
	}
	pgtest.Exec(t, other, "ROLLBACK")
	r.target.LetGo(t.Context())
	if err := r.target.Recover(t.Context()); !errors.Is(err, ErrRewind) {
		_ = r.apply(last)
		t.Fatalf("got %v, want that the source is to be read again; the target has %s", err, r.rows("SELECT id FROM p"))
	}
	r.reopen()
	first()
	r.do(0, change.Insert, "", "3,a,b")
	r.must()
	r.want("SELECT string_agg(id::text, ' ' ORDER BY id) FROM p", "2 3")
}

// A decision is no excuse for a process that was taken over.
func TestTakenOverBesideADecision(t *testing.T) {
	r := newParkedRig(t)
	r.stub(change.Insert, "", "1")
	r.must()
	r.decide("1")
	pgtest.Exec(t, r.conn, "UPDATE segue.progress SET owner = 'another'")
	r.do(0, change.Insert, "", "2,a,b")
	r.commit()
	if err := r.apply(r.batch(true)); !errors.Is(err, ErrTakenOver) {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM p", "0")
}

func TestDiscardWantsAList(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	d := Decision{Migration: "m", Match: func(*Parked) bool { return true }}
	if _, err := Discard(t.Context(), conn, d); fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" {
		t.Fatal(err)
	}
	if err := EnsureSchema(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if _, err := Discard(t.Context(), conn, d); fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" {
		t.Fatal(err)
	}
}

// A schema from before decisions gets what it lacks, and keeps its list.
func TestASchemaFromBeforeDecisionsIsCompleted(t *testing.T) {
	r := newParkedRig(t)
	r.stub(change.Insert, "", "1")
	r.must()
	r.target.Close()
	pgtest.Exec(t, r.conn, "DROP TABLE segue.dead_topic, segue.refused", "ALTER TABLE segue.progress DROP COLUMN decisions",
		"ALTER TABLE segue.parked_log DROP COLUMN cause, DROP COLUMN changes, DROP COLUMN last_position")
	if _, err := Discard(t.Context(), r.conn, Decision{Migration: "m", Match: byKey("1")}); fault.ClassOf(err) != fault.ClassFatal {
		t.Fatalf("an older applier does not know of decisions: %v", err)
	}
	r.reopen()
	r.stub(change.Insert, "", "2")
	r.must()
	r.decide("1")
	r.want(parkedSQL, "2:insert:too_large:1")
}

// Decisions beside an applier that parks and supersedes all the time: list, log and memory agree, and nobody fails for a deadlock.
func TestDecisionsBesideABusyApplier(t *testing.T) {
	r := newParkedRig(t)
	stop, ended := make(chan struct{}), make(chan error, 1)
	other := pgtest.Connect(t, r.url)
	go func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			_, err := Discard(t.Context(), other, Decision{Migration: "m", Who: "w", Reason: "r", Match: func(*Parked) bool { return rnd.IntN(4) == 0 }})
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	seen := map[int64]bool{} // by somebody who reads the log as it grows, as the delivery to a topic does
	follow := func(conn *pgx.Conn, after int64) int64 {
		lines, err := ReadParkedLog(t.Context(), conn, "m", after, 7)
		if err != nil {
			t.Error(err)
		}
		for i := range lines {
			after, seen[lines[i].ID] = lines[i].ID, true
		}
		return after
	}
	over, followed := make(chan struct{}), make(chan int64)
	third := pgtest.Connect(t, r.url)
	go func() {
		at := int64(0)
		for {
			select {
			case <-over:
				followed <- at
				return
			default:
				at = follow(third, at)
			}
		}
	}()
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		for range 6 {
			id := fmt.Sprint(rnd.IntN(20))
			switch rnd.IntN(4) {
			case 0:
				r.do(0, change.Read, "", id+",a,b")
			case 1:
				r.do(0, change.Delete, id, "")
			default:
				r.stub(change.Update, "", id)
			}
		}
		r.must()
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	r.stub(change.Update, "", "100") // behind the last decision: the list in memory is the newest
	r.must()
	r.want(`SELECT count(*) FROM (SELECT key_values, sum(CASE action WHEN 'parked' THEN 1 ELSE -1 END) AS n FROM segue.parked_log GROUP BY 1) AS l
		FULL JOIN segue.parked AS p USING (key_values) WHERE coalesce(n, 0) <> CASE WHEN p.id IS NULL THEN 0 ELSE 1 END`, "0")
	close(over)
	at := <-followed
	for next := follow(third, at); next != at; next = follow(third, at) {
		at = next
	}
	if got := r.rows("SELECT count(*) FROM segue.parked_log"); got != fmt.Sprint(len(seen)) {
		t.Errorf("who follows the log has seen %d lines of %s: some became visible behind later ones", len(seen), got)
	}
	r.want("SELECT count(*) > 20 FROM segue.parked_log WHERE action = 'discarded'", "true")
	if got, want := fmt.Sprint(r.target.Progress().ParkedRows), r.rows("SELECT count(*) FROM segue.parked"); got != want {
		t.Errorf("%s rows parked in memory, %s on the target", got, want)
	}
	r.want("SELECT changes FROM segue.progress", "901")
}
