package pgtarget

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgtest"
)

// parkedCodesSQL lists what is parked: table, key, code, number of changes.
const parkedCodesSQL = `SELECT source_table || ':' || array_to_string(key_values, '/') || ':' || op || ':' || code || ':' || changes FROM segue.parked ORDER BY source_table, key_values::text`

const refusedDDL = `
CREATE TABLE p (id int PRIMARY KEY, u text UNIQUE, name varchar(5) NOT NULL, n int CHECK (n > 0));
CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED, note text);
CREATE FUNCTION no_seven() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n = 7 THEN RAISE 'seven is %', NEW.u; END IF; RETURN NEW; END $$;
CREATE TRIGGER no_seven BEFORE INSERT OR UPDATE ON p FOR EACH ROW EXECUTE FUNCTION no_seven();`

// Whatever the target has against a row, that row is parked with its reason, and all others go on, of the same transaction too.
func TestRowsThatTheTargetRefusesAreParked(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	for i := range 60 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,u%d,n,1", i, i))
		r.do(1, change.Insert, "", fmt.Sprintf("%d,%d,x", i, i))
		if i%3 == 2 {
			r.commit()
		}
	}
	r.do(0, change.Insert, "", "100,secret,secretsecret,1")
	r.do(0, change.Insert, "", "101,v,NULL,1")
	r.do(0, change.Insert, "", "102,w,n,-5")
	r.commit()
	r.do(0, change.Insert, "", "103,u7,n,1")
	r.do(0, change.Insert, "", "104,secret,n,7")
	r.do(0, change.Insert, "", "105,x,n,many")
	r.do(0, change.Update, "", "1,?,secretsecret,?")
	r.do(0, change.Update, "", "2,u2,n,9")
	r.do(1, change.Insert, "", "200,999,x")
	for i := range 30 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,u%d,n,1", 300+i, 300+i))
	}
	r.must()
	r.want(parkedCodesSQL, "c:200:insert:23503:1 p:100:insert:22001:1 p:101:insert:23502:1 p:102:insert:23514:1 "+
		"p:103:insert:23505:1 p:104:insert:P0001:1 p:105:insert:22P02:1 p:1:update:22001:1")
	r.want("SELECT count(*), sum(n), count(*) FILTER (WHERE name = 'n') FROM p", "90,98,90")
	r.want("SELECT count(*) FROM c", "60")
	r.want("SELECT stage || ' ' || reason FROM segue.parked WHERE key_values = '{102}'", "applier (SQLSTATE 23514 check_violation) schema public table p constraint p_n_check")
	r.want("SELECT count(*) FROM segue.parked WHERE reason LIKE '%secret%'", "0")
	r.want("SELECT changes, row_ops, filtered, parked FROM segue.progress", "159,151,0,8")
}

// What comes later in the same batch is judged by what was refused before it.
func TestLaterChangesOfARefusedRow(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(0, change.Insert, "", "1,a,n,1")
	r.do(0, change.Insert, "", "2,b,n,1")
	r.do(0, change.Insert, "", "3,c,n,1")
	r.must()
	r.do(0, change.Update, "", "1,a,toolong,1")
	r.do(0, change.Update, "", "1,?,?,2") // joins
	r.do(0, change.Update, "", "2,b,toolong,1")
	r.commit()
	r.do(0, change.Update, "", "2,b,n,3") // supersedes
	r.do(0, change.Update, "", "3,c,toolong,1")
	r.commit()
	r.do(0, change.Update, "", "3,c,n,-1") // refused again, for another reason
	r.must()
	r.want(parkedCodesSQL, "p:1:update:22001:2 p:3:update:23514:1")
	r.want("SELECT id || u || n FROM p ORDER BY id", "1a1 2b3 3c1")
	r.do(0, change.Read, "", "1,a,n,4")
	r.do(0, change.Delete, "3", "")
	r.must()
	r.want(parkedCodesSQL, "")
	r.want("SELECT id || u || n FROM p ORDER BY id", "1a4 2b3")
}

// A plan with a refused row is not applied a second time: what stands before the row's statement stays, and the statement is halved.
func TestRefusedRowsAreIsolated(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, u text UNIQUE, name varchar(5) NOT NULL, n int CHECK (n > 0)); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)`, "p", "c")
	const rows = 5000
	fill := func(version int, but map[int]string) {
		for i := range rows {
			values := fmt.Sprintf("%d,u%d,n%d,1", i, i, version)
			if b, ok := but[i]; ok {
				values = b
			}
			r.do(0, change.Insert, "", values)
			if i%10 == 9 {
				r.commit()
			}
		}
		r.do(1, change.Insert, "", fmt.Sprintf("%d,%d", version, version))
		r.must()
	}
	fill(1, map[int]string{7: "7,u7,NULL,1"}) // halved at transactions; from now on in steps
	before := r.target.Stats()
	fill(2, map[int]string{3333: "3333,u3333,secretsecret,1", 77: "77,u77,n2,0", 100: "100,u200,n2,1", 200: "200,u100,n2,1", 4000: "4000,u4001,n2,1", 4001: "4001,u4002,n2,1", 4002: "4002,u4000,n2,1"})
	if n := r.target.Stats().Halvings - before.Halvings; n == 0 || n > 120 {
		t.Errorf("%d parts were tried", n)
	}
	r.want(parkedCodesSQL, "p:3333:insert:22001:1 p:77:insert:23514:1")
	r.want("SELECT count(*), count(*) FILTER (WHERE name = 'n2') FROM p", "5000,4998")
	r.want("SELECT u FROM p WHERE id IN (7, 100, 200, 4000, 4001, 4002) ORDER BY id", "u7 u200 u100 u4001 u4002 u4000")
	r.want("SELECT string_agg(id::text, ' ' ORDER BY id) FROM c", "1 2")
	r.want("SELECT changes, row_ops, parked FROM segue.progress", "10002,9999,3")
	// Two rows that want one value: which came first, the source's order says.
	fill(3, map[int]string{50: "50,u50,n3,1", 4500: "4500,u50,n3,1", 3333: "3333,u3333,n3,1", 100: "100,u200,n3,1", 200: "200,u100,n3,1",
		4000: "4000,u4001,n3,1", 4001: "4001,u4002,n3,1", 4002: "4002,u4000,n3,1"})
	r.want(parkedCodesSQL, "p:4500:insert:23505:1")
	r.want("SELECT count(*), sum(version) FROM (SELECT substr(name, 2)::int AS version FROM p) x", "5000,14999")
}

// Rows that refer to a parked one wait for it, and are read again by themselves when it is there.
func TestDependantsWaitForTheirParent(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(0, change.Insert, "", "1,a,toolong,1")
	parent := r.pos
	r.do(1, change.Insert, "", "10,1,x")
	r.commit()
	r.do(1, change.Insert, "", "11,1,x")
	r.do(1, change.Insert, "", "12,NULL,x")
	r.must()
	r.do(1, change.Update, "", "12,1,x") // whole, and refers to it now
	r.do(1, change.Insert, "", "13,77,x")
	r.must()
	r.want(parkedCodesSQL, "c:10:insert:23503:1 c:11:insert:23503:1 c:12:update:23503:1 c:13:insert:23503:1 p:1:insert:22001:1")
	r.want("SELECT key_values[1] FROM segue.parked WHERE cause = '"+parent.String()+"' ORDER BY 1", "10 11 12")
	r.want("SELECT id, p FROM c", "12,NULL")
	if len(r.asker.keys) > 0 {
		t.Fatalf("asked for %v before the parent is there", r.asker.keys)
	}
	r.reopen()
	r.do(0, change.Read, "", "1,a,n,1")
	r.must()
	slices.Sort(r.asker.keys)
	if got := strings.Join(r.asker.keys, " "); got != "legacy.c 10 legacy.c 11 legacy.c 12" {
		t.Fatalf("asked for %s", got)
	}
	for _, row := range []string{"10,1,x", "11,1,x", "12,1,x"} {
		r.do(1, change.Read, "", row)
	}
	r.must()
	r.want(parkedCodesSQL, "c:13:insert:23503:1")
	r.want("SELECT id || ' ' || p FROM c ORDER BY id", "10 1 11 1 12 1")
}

// What refers to a row that was parked during the initial load cannot stay when the foreign keys are enforced, nor what refers to that.
func TestOrphansOfTheLoadAreParked(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, n int CHECK (n > 0)); CREATE TABLE c (k text, id int, p int REFERENCES p ON DELETE CASCADE, PRIMARY KEY (k, id));
		CREATE TABLE d (id int PRIMARY KEY, k text, c int, FOREIGN KEY (k, c) REFERENCES c ON DELETE SET NULL)`, "p", "c", "d")
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		n := 1
		if i == 3 || i == 4 {
			n = -1
		}
		r.do(2, change.Read, "", fmt.Sprintf("%d,x,%d", i, i))
		r.do(1, change.Read, "", fmt.Sprintf("x,%d,%d", i, i))
		r.do(0, change.Read, "", fmt.Sprintf("%d,%d", i, n))
	}
	r.must()
	var notes []string
	for range 2 {
		more, err := r.target.Loaded(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, more...)
	}
	r.want(parkedCodesSQL, "c:x/3:read:23503:1 c:x/4:read:23503:1 d:3:read:23503:1 d:4:read:23503:1 p:3:read:23514:1 p:4:read:23514:1")
	r.want("SELECT (SELECT count(*) FROM p), (SELECT count(*) FROM c), (SELECT count(*) FROM d), changes, row_ops, parked, loaded FROM segue.progress", "8,8,8,30,24,6,true")
	r.want("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND condeferred", "2")
	if got := strings.Join(notes, "; "); !strings.Contains(got, "2 rows of public.c refer to rows that are not there") {
		t.Error(got)
	}
	if p := r.target.Progress(); p.Parked != 6 || p.ParkedRows != 6 {
		t.Errorf("%d changes, %d rows parked", p.Parked, p.ParkedRows)
	}
	r.reopen()
	r.do(0, change.Read, "", "3,1")
	r.do(1, change.Read, "", "x,3,3")
	r.do(2, change.Read, "", "3,x,3")
	r.must()
	r.want(parkedCodesSQL, "c:x/4:read:23503:1 d:4:read:23503:1 p:4:read:23514:1")
}

// A parent whose children are stale cannot go: it is the one that is parked.
func TestAParentThatRowsReferToIsParked(t *testing.T) {
	r := newRig(t, refusedDDL+`CREATE TABLE d (id int PRIMARY KEY, c int REFERENCES c ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)`, "p", "c")
	for i := range 3 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,u%d,n,1", i, i))
		r.do(1, change.Insert, "", fmt.Sprintf("1%d,%d,x", i, i))
	}
	r.must()
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(1), SourceKey: row("11"), Fault: &change.Fault{Stage: "reader", Code: change.FaultTooLarge, Text: "too large"}})
	r.commit()
	r.do(0, change.Delete, "1", "") // its child went elsewhere, which is not known here
	r.do(0, change.Delete, "2", "")
	r.do(1, change.Delete, "12", "")
	r.must()
	r.want(parkedCodesSQL, "c:11:update:too_large:1 p:1:delete:23503:1")
	r.want("SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM p), (SELECT string_agg(id::text, ' ' ORDER BY id) FROM c)", "0 1,10 11")
	r.do(1, change.Update, "", "11,0,y")
	r.must()
	r.do(0, change.Delete, "1", "")
	r.must()
	r.want(parkedCodesSQL, "")
}

// moveOf adds an update of a row; old is its key before, "" where that stayed.
func (r *rig) moveOf(target int, old, values string) {
	r.do(target, change.Update, old, values)
	r.open[len(r.open)-1].OldKey = row(old)
}

// Where two rows trade their keys and one of them is refused, the other arrives, and the refused one is not forgotten.
func TestOneOfTwoRowsThatTradeKeysIsRefused(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(0, change.Insert, "", "1,a,n,1")
	r.do(0, change.Insert, "", "2,b,n,1")
	r.must()
	r.moveOf(0, "1", "2,a,toolong,1")
	r.moveOf(0, "2", "1,b,n,5")
	r.must()
	r.want("SELECT id || u || n FROM p", "1b5")
	r.want(parkedCodesSQL, "p:2:update:22001:1")
	r.do(0, change.Read, "", "2,a,n,1")
	r.must()
	r.want("SELECT id || u || n FROM p ORDER BY id", "1b5 2a1")
	r.want(parkedCodesSQL, "")
}

// A key keeps its one entry where the segment before it ends with a row that is taken out and put in again.
func TestAKeyHasOneEntryBehindACut(t *testing.T) {
	r := newParkedRig(t)
	r.do(0, change.Insert, "", "1,a,a")
	r.do(0, change.Insert, "", "5,a,a")
	r.must()
	r.do(0, change.Delete, "1", "")
	r.do(0, change.Insert, "", "1,b,b")
	r.move("5", "6,a,?")
	r.do(0, change.Update, "", "6,x,?")
	r.do(0, change.Update, "", "6,y,?")
	r.must()
	r.want("SELECT id || a || big FROM p ORDER BY id", "1bb 6ya")
}

// A stub that takes part in a trade of keys is not superseded by the other row's leaving.
func TestAStubThatTradesKeysStaysParked(t *testing.T) {
	r := newParkedRig(t)
	r.do(0, change.Insert, "", "1,a,a")
	r.do(0, change.Insert, "", "2,b,b")
	r.must()
	r.stub(change.Update, "1", "2")
	r.move("2", "1,b,b")
	r.must()
	r.want("SELECT id || a FROM p", "1b")
	r.want(parkedSQL, "2:update:too_large:1")
}

// A source whose unique constraint is checked at the commit lets rows trade values, which no order of single rows can follow.
func TestRowsThatTradeUniqueValuesInOneTransaction(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, u text UNIQUE, v text, own int DEFAULT 3);
		CREATE TABLE r (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&))`, "p", "r")
	r.cfg.Targets[0].Columns = r.cfg.Targets[0].Columns[:3]
	r.reopen()
	for i := range 20 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,u%d,v", i, i))
		r.do(1, change.Insert, "", fmt.Sprintf("%d,[%d;%d)", i, i*10, i*10+10))
		r.open[len(r.open)-1].Ops[0].Row[1] = change.String(fmt.Sprintf("[%d,%d)", i*10, i*10+10))
	}
	r.must()
	pgtest.Exec(t, r.conn, "UPDATE p SET own = 10 + id")
	r.do(0, change.Update, "", "1,u2,v")
	r.do(0, change.Update, "", "2,u1,v")
	r.do(0, change.Update, "", "3,u4,?") // partly
	r.do(0, change.Update, "", "4,u3,?")
	for i := range 2 {
		r.do(1, change.Update, "", fmt.Sprintf("%d,x", 5+i))
		r.open[len(r.open)-1].Ops[0].Row[1] = change.String(fmt.Sprintf("[%d,%d)", (6-i)*10, (6-i)*10+10))
	}
	r.must()
	r.want(parkedCodesSQL, "")
	r.want("SELECT id || u || v || own FROM p WHERE id < 5 ORDER BY id", "0u0v10 1u2v11 2u1v12 3u4v13 4u3v14")
	r.want("SELECT during::text FROM r WHERE id IN (5, 6) ORDER BY id", "[60,70) [50,60)")
}

// A constraint of the target's own that waits for the commit says nothing of the row: its table's changes of that transaction are parked.
func TestADeferredConstraintParksItsTablesChanges(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, u text UNIQUE DEFERRABLE INITIALLY DEFERRED); CREATE TABLE c (id int PRIMARY KEY)`, "p", "c")
	r.do(0, change.Insert, "", "1,a")
	r.must()
	r.do(0, change.Insert, "", "2,b")
	r.commit()
	r.do(1, change.Insert, "", "1")
	r.do(0, change.Insert, "", "3,a")
	r.commit()
	r.do(0, change.Insert, "", "4,d")
	r.must()
	r.want(parkedCodesSQL, "p:3:insert:23505:1")
	r.want("SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM p), (SELECT count(*) FROM c)", "1 2 4,1")
}

// In a transaction that is applied in slices rows are refused as in others.
func TestRefusedInASliceOfAHugeTransaction(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	r.do(0, change.Insert, "", "1,a,toolong,1")
	r.do(0, change.Insert, "", "2,b,n,1")
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Update, "", "1,?,?,5")
	r.do(0, change.Insert, "", "3,c,n,-1")
	if err := r.apply(r.batch(false)); err != nil {
		t.Fatal(err)
	}
	r.do(0, change.Insert, "", "3,c,n,1")
	r.do(1, change.Insert, "", "1,1,x")
	r.do(1, change.Insert, "", "2,2,x")
	r.must()
	r.want(parkedCodesSQL, "c:1:insert:23503:1 p:1:insert:22001:2")
	r.want("SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM p), (SELECT string_agg(id::text, ' ') FROM c)", "2 3,2")
}

// A row without a key stops the pipeline: nobody could find it again.
func TestARefusedRowWithoutAKeyStops(t *testing.T) {
	r := newRigOf(t, `CREATE TABLE k (a varchar(3), b text)`, func(ct *change.Target) { ct.Keyless, ct.Key, ct.SourceKey = true, []int{0, 1}, nil }, "k")
	r.add(change.Mapped{SourceOp: change.Insert, Source: r.source(0), Ops: []change.RowOp{{Op: change.Insert, Row: row("toolong,x")}}})
	r.commit()
	if err := r.apply(r.batch(true)); fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), "22001") || !strings.Contains(err.Error(), "public.k") {
		t.Fatal(err)
	}
}

// A foreign key that breaks at the end of a huge transaction, through rows of an earlier slice: the transaction is read again without them, by another
// process too, and the rest of it commits.
func TestRefusedAtTheEndOfAHugeTransaction(t *testing.T) {
	r := newRig(t, refusedDDL, "p", "c")
	for i := range 4 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,u%d,n,1", i, i))
		r.do(1, change.Insert, "", fmt.Sprintf("%d,%d,x", i, i))
	}
	r.must()
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(1), SourceKey: row("3"), Fault: &change.Fault{Stage: "reader", Code: change.FaultTooLarge, Text: "too large"}})
	r.must()
	slices := [][]func(){
		{func() { r.do(1, change.Insert, "", "10,77,x") }, func() { r.do(1, change.Insert, "", "11,1,x") }, func() { r.do(0, change.Delete, "3", "") }},
		{func() { r.do(0, change.Insert, "", "20,a,n,1") }, func() { r.do(1, change.Update, "", "10,?,partly") }},
		{func() { r.do(1, change.Insert, "", "12,20,x") }, func() { r.do(1, change.Insert, "", "13,99,x") }},
	}
	start, offset := r.pos, r.offset
	again := 0
	for {
		r.pos, r.offset, r.open = start, offset, nil
		var err error
		for i := 0; i < len(slices) && err == nil; i++ {
			for _, f := range slices[i] {
				f()
			}
			last := i == len(slices)-1
			if last {
				r.commit()
			}
			err = r.apply(r.batch(last))
		}
		if err == nil {
			break
		}
		if again++; !errors.Is(err, ErrRewind) || fault.ClassOf(err) != fault.ClassTransient || again > 5 {
			t.Fatalf("attempt %d: %v", again, err)
		}
		if again%2 == 1 {
			r.reopen()
		}
	}
	if again != 3 {
		t.Errorf("read again %d times, want 3: for the children, for one that is not of this transaction, and for its parent, which cannot go", again)
	}
	r.want(parkedCodesSQL, "c:10:insert:23503:2 c:13:insert:23503:1 c:3:update:too_large:1 p:3:delete:23503:1")
	r.want("SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM p), (SELECT string_agg(id::text, ' ' ORDER BY id) FROM c)", "0 1 2 3 20,0 1 2 3 11 12")
	r.want("SELECT count(*) FROM segue.refused", "0")
	r.do(0, change.Insert, "", "21,b,n,1")
	r.must()
	r.want("SELECT changes - row_ops - filtered - parked FROM segue.progress", "0")
}

// poisonModel is a source whose rows the target does not all take.
type poisonModel struct {
	rig    *rig
	rnd    *rand.Rand
	rows   map[int]string // id → note,n
	parked map[int]bool   // by the serial meaning
	came   map[int]uint64 // in which transaction a row came to a key last
}

func (m *poisonModel) value() string {
	if m.rnd.IntN(6) == 0 {
		return fmt.Sprintf("w%d,-1", m.rnd.IntN(100))
	}
	return fmt.Sprintf("w%d,%d", m.rnd.IntN(100), 1+m.rnd.IntN(100))
}

func bad(v string) bool { return strings.HasSuffix(v, "-1") }

func (m *poisonModel) step() {
	id := 1 + m.rnd.IntN(10)
	was, there := m.rows[id]
	switch k := m.rnd.IntN(12); {
	case k == 0 && m.rnd.IntN(4) == 0:
		m.rig.do(0, change.Truncate, "", "")
		clear(m.rows)
		clear(m.parked)
	case !there:
		v := m.value()
		m.rig.do(0, change.Insert, "", fmt.Sprintf("%d,%s", id, v))
		m.rows[id], m.parked[id], m.came[id] = v, bad(v), m.rig.pos.LSN
	case k < 4:
		v := m.value()
		m.rig.do(0, change.Update, "", fmt.Sprintf("%d,%s", id, v))
		m.rows[id], m.parked[id] = v, bad(v)
	case k < 6: // the number was not sent
		note, n, _ := strings.Cut(was, ",")
		note += "p"
		m.rig.do(0, change.Update, "", fmt.Sprintf("%d,%s,?", id, note))
		m.rows[id] = note + "," + n
	case k < 8:
		m.rig.do(0, change.Delete, fmt.Sprint(id), "")
		delete(m.rows, id)
		delete(m.parked, id)
	default:
		to := 1 + m.rnd.IntN(10)
		if _, taken := m.rows[to]; taken {
			return
		}
		v := m.value()
		m.rig.moveOf(0, fmt.Sprint(id), fmt.Sprintf("%d,%s", to, v))
		m.rows[to] = v
		delete(m.rows, id)
		// One that came in this very transaction may be another row than the one that leaves.
		m.parked[to], m.parked[id] = bad(v), bad(v) || m.parked[id] && m.came[id] == m.rig.pos.LSN
		m.came[to] = m.rig.pos.LSN
	}
}

// However the changes are batched: each row is as on the source, or it is parked and the serial meaning parks it too.
func TestRefusedHistories(t *testing.T) {
	for _, steps := range []int{0, 1} {
		t.Run(fmt.Sprintf("steps %d", steps), func(t *testing.T) { refusedHistories(t, steps) })
	}
}

func refusedHistories(t *testing.T, wary int) {
	seeds := 30
	if s := os.Getenv("SEGUE_SEEDS"); s != "" {
		seeds, _ = strconv.Atoi(s)
	}
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, note text, n int CHECK (n > 0))`, "p")
	for seed := range seeds {
		pgtest.Exec(t, r.conn, "TRUNCATE p, segue.parked, segue.parked_log, segue.pending", "UPDATE segue.progress SET changes = 0, parked = 0, row_ops = 0, filtered = 0")
		r.reopen()
		m := &poisonModel{rig: r, rnd: rand.New(rand.NewPCG(uint64(seed), 7)), rows: map[int]string{}, parked: map[int]bool{}, came: map[int]uint64{}}
		total := 0
		for range 12 {
			for range m.rnd.IntN(8) {
				for range 1 + m.rnd.IntN(4) {
					m.step()
				}
				total += len(r.open)
				if m.rnd.IntN(2) == 0 {
					r.commit()
				}
				total -= len(r.open)
			}
			slice := m.rnd.IntN(4) == 0 && len(r.open) > 0
			if !slice {
				r.commit()
			}
			total += len(r.open)
			r.target.wary, r.target.stepRows = wary, 0
			if err := r.apply(r.batch(!slice)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		r.commit()
		if err := r.apply(r.batch(true)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		m.compare(seed, total)
	}
}

func (m *poisonModel) compare(seed, total int) {
	t := m.rig.t
	parked := map[int]bool{}
	for _, k := range strings.Fields(m.rig.rows("SELECT key_values[1] FROM segue.parked")) {
		id, _ := strconv.Atoi(k)
		if parked[id] = true; !m.parked[id] {
			t.Fatalf("seed %d: %d is parked, and nothing was wrong with it\n%s", seed, id, m.rig.rows(parkedCodesSQL))
		}
	}
	got := map[int]string{}
	for _, line := range strings.Fields(m.rig.rows("SELECT id || ':' || note || ',' || n FROM p")) {
		k, v, _ := strings.Cut(line, ":")
		id, _ := strconv.Atoi(k)
		got[id] = v
	}
	for id := range 11 {
		if !parked[id] && got[id] != m.rows[id] {
			t.Fatalf("seed %d: row %d is %q, want %q", seed, id, got[id], m.rows[id])
		}
		if bad(m.rows[id]) && !parked[id] {
			t.Fatalf("seed %d: row %d is neither there nor parked", seed, id)
		}
	}
	m.rig.want("SELECT changes - parked - filtered >= 0, changes FROM segue.progress", fmt.Sprintf("true,%d", total))
}
