package pgtarget

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/pgtest"
)

const parkedDDL = `CREATE TABLE p (id int PRIMARY KEY, a text, big text, local int DEFAULT 7)`

func newParkedRig(t testing.TB) *rig {
	r := newRig(t, parkedDDL, "p")
	ct := r.cfg.Targets[0]
	ct.Columns = ct.Columns[:3] // local is the target's own
	r.reopen()
	return r
}

// stub adds a change that could not travel; old is the key before it, "" where that stayed.
func (r *rig) stub(op change.Op, old, key string) {
	r.add(change.Mapped{SourceOp: op, Source: r.source(0), SourceKey: row(key), OldKey: row(old),
		Fault: &change.Fault{Stage: "reader", Code: change.FaultTooLarge, Text: "too large", Size: 60_000_000}})
}

// move adds an update that changes the key.
func (r *rig) move(old, values string) {
	v := row(values)
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(0), SourceKey: v[:1], OldKey: row(old),
		Ops: []change.RowOp{{Op: change.Update, Key: row(old), Row: v}}})
}

const parkedSQL = `SELECT array_to_string(key_values, '/') || ':' || op || ':' || code || ':' || changes FROM segue.parked ORDER BY key_values::text`

func TestParkedKeysAreLeftAloneAndTheOthersGoOn(t *testing.T) {
	r := newParkedRig(t)
	for i := range 6 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,a,b", i+1))
	}
	r.must()
	r.stub(change.Update, "", "1")
	r.stub(change.Insert, "", "7")
	r.stub(change.Update, "2", "8")
	r.do(0, change.Update, "", "1,partial,?")
	r.do(0, change.Update, "", "3,partial,?")
	r.must()
	r.want(parkedSQL, "1:update:too_large:2 2:update:too_large:1 7:insert:too_large:1 8:update:too_large:1")
	r.want("SELECT id || a || big FROM p ORDER BY id", "1ab 2ab 3partialb 4ab 5ab 6ab")
	r.want("SELECT changes || ' ' || row_ops || ' ' || filtered || ' ' || parked FROM segue.progress", "11 7 0 4")
	if p := r.target.Progress(); p.ParkedRows != 4 || p.Parked != 4 || len(r.asker.keys) > 0 {
		t.Errorf("%d rows parked, %d changes, asked for %v", p.ParkedRows, p.Parked, r.asker.keys)
	}

	r.reopen() // what is parked is known to the next life
	r.do(0, change.Update, "", "7,partial,?")
	r.move("3", "1,moved,?") // a part of a row moves onto a parked key: both are parked
	r.commit()
	r.move("1", "9,moved,c") // a whole row moves away from one: it is where it belongs
	r.do(0, change.Update, "", "4,x,y")
	r.must()
	r.want(parkedSQL, "2:update:too_large:1 3:update:joined:1 7:insert:too_large:2 8:update:too_large:1")
	r.want("SELECT id || a || big FROM p ORDER BY id", "2ab 3partialb 4xy 5ab 6ab 9movedc")
	r.want("SELECT cause IS NOT NULL FROM segue.parked WHERE code = 'joined'", "true")

	r.do(0, change.Delete, "2", "")
	r.do(0, change.Read, "", "7,r,s")
	r.do(0, change.Insert, "", "3,i,j") // what stood there was another row
	r.move("5", "8,m,n")
	r.must()
	r.want(parkedSQL, "")
	r.want("SELECT id || a || big FROM p ORDER BY id", "3ij 4xy 6ab 7rs 8mn 9movedc")
	r.want("SELECT action || ' ' || count(*) FROM segue.parked_log GROUP BY action ORDER BY 1", "parked 5 superseded 5")

	r.stub(change.Update, "", "4")
	r.stub(change.Insert, "", "10")
	r.must()
	r.stub(change.Insert, "", "11")
	r.do(0, change.Truncate, "", "")
	r.stub(change.Insert, "", "12")
	r.stub(change.Insert, "", "4")
	r.must()
	r.want(parkedSQL, "12:insert:too_large:1 4:insert:too_large:1")
	r.want("SELECT count(*) FROM p", "0")
	if p := r.target.Progress(); p.ParkedRows != 2 {
		t.Errorf("%d rows parked, want 2", p.ParkedRows)
	}
}

// What the target has under a parked key belongs to a row that may be gone: a row that moves there replaces it, and one that was moved away and
// then left the filter leaves nothing there.
func TestStaleRowsMakeRoom(t *testing.T) {
	r := newParkedRig(t)
	r.do(0, change.Insert, "", "1,old,old")
	r.do(0, change.Insert, "", "2,two,two")
	r.must()
	pgtest.Exec(t, r.conn, "UPDATE p SET local = id")
	r.stub(change.Update, "1", "5") // the target still has 1
	r.move("2", "1,two,new")
	r.must()
	r.want("SELECT id || a || big || local FROM p", "1twonew2")
	r.want(parkedSQL, "5:update:too_large:1")
	r.stub(change.Update, "", "1")
	r.must()
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(0), SourceKey: row("1"), OldKey: row("6"),
		Ops: []change.RowOp{{Op: change.Delete, Key: row("6")}}}) // moves onto 1 and leaves the filter
	r.must()
	r.want(parkedSQL, "1:update:too_large:2 5:update:too_large:1 6:update:joined:1")
	r.do(0, change.Delete, "1", "")
	r.must()
	r.want("SELECT count(*) FROM p", "0")
}

// The log tells of each beginning and each end, those inside one transaction, too.
func TestTheLogTellsEveryEnd(t *testing.T) {
	r := newParkedRig(t)
	r.stub(change.Insert, "", "1")
	r.must()
	r.do(0, change.Read, "", "1,a,b")
	r.stub(change.Update, "", "1")
	r.do(0, change.Delete, "1", "")
	r.must()
	r.want("SELECT string_agg(action, ' ' ORDER BY id) FROM segue.parked_log", "parked superseded parked superseded")
	r.stub(change.Insert, "", "2")
	r.must()
	r.do(0, change.Read, "", "2,a,b")
	r.stub(change.Update, "", "2")
	r.do(0, change.Truncate, "", "")
	r.must()
	r.want("SELECT string_agg(action, ' ' ORDER BY action) FROM segue.parked_log WHERE key_values = '{2}'", "parked parked superseded superseded")
}

func TestAParkedAnswerEndsPending(t *testing.T) {
	r := newParkedRig(t)
	r.do(0, change.Update, "", "1,x,?")
	r.must()
	if p := r.target.Progress(); p.Pending != 1 || len(r.asker.keys) != 1 {
		t.Fatalf("%d pending, asked %v", p.Pending, r.asker.keys)
	}
	r.stub(change.Read, "", "1")
	r.must()
	if p := r.target.Progress(); p.Pending != 0 || p.ParkedRows != 1 {
		t.Errorf("%d pending, %d parked; the answer came, and is parked", p.Pending, p.ParkedRows)
	}
}

func TestParkLimitStops(t *testing.T) {
	for key, park := range map[string]Park{"park.limit": {Limit: 2, PerTable: 5}, "park.per_table": {Limit: 5, PerTable: 2}} {
		r := newParkedRig(t)
		r.cfg.Park = park
		r.reopen()
		r.stub(change.Insert, "", "1")
		r.stub(change.Insert, "", "2")
		r.must()
		r.do(0, change.Delete, "1", "")
		r.stub(change.Insert, "", "3")
		r.must()
		r.stub(change.Insert, "", "4")
		r.commit()
		err := r.apply(r.batch(true))
		if fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), key) || !strings.Contains(fault.HintOf(err), key) {
			t.Fatalf("%s: %v (%s)", key, err, fault.HintOf(err))
		}
		r.want(parkedSQL, "2:insert:too_large:1 3:insert:too_large:1")
	}
}

// A schema from before parking gets its tables, and its rows stay.
func TestAnOlderSchemaIsCompleted(t *testing.T) {
	r := newParkedRig(t)
	r.do(0, change.Insert, "", "1,a,b")
	r.must()
	r.target.Close()
	pgtest.Exec(t, r.conn, "DROP TABLE segue.parked, segue.parked_log", "ALTER TABLE segue.progress DROP COLUMN parked")
	r.reopen()
	r.stub(change.Insert, "", "2")
	r.must()
	r.want("SELECT changes || ' ' || parked FROM segue.progress", "2 1")
}

// parkedModel is what source, target and list must be.
type parkedModel struct {
	rig    *rig
	rnd    *rand.Rand
	rows   map[int]string // of the source: "a,big"
	parked map[int]bool
	n      int
	total  int64
	held   int64
}

func (m *parkedModel) step() {
	m.total++
	id := 1 + m.rnd.IntN(12)
	m.n++
	was, there := m.rows[id]
	switch k := m.rnd.IntN(20); {
	case k == 0 && m.rnd.IntN(3) == 0:
		m.rig.do(0, change.Truncate, "", "")
		clear(m.rows)
		clear(m.parked)
	case !there && k < 6:
		m.rows[id] = fmt.Sprintf("s%d,s%d", m.n, m.n)
		m.rig.stub(change.Insert, "", fmt.Sprint(id))
		m.park(id)
	case !there:
		m.rows[id] = fmt.Sprintf("i%d,i%d", m.n, m.n)
		m.rig.do(0, change.Insert, "", fmt.Sprintf("%d,%s", id, m.rows[id]))
		delete(m.parked, id)
	case k < 4:
		m.rows[id] = fmt.Sprintf("s%d,s%d", m.n, m.n)
		m.rig.stub(change.Update, "", fmt.Sprint(id))
		m.park(id)
	case k < 8:
		_, big, _ := strings.Cut(was, ",")
		m.rows[id] = fmt.Sprintf("p%d,%s", m.n, big)
		m.rig.do(0, change.Update, "", fmt.Sprintf("%d,p%d,?", id, m.n))
		if m.parked[id] {
			m.park(id)
		}
	case k < 11:
		m.rows[id] = fmt.Sprintf("u%d,u%d", m.n, m.n)
		m.rig.do(0, change.Update, "", fmt.Sprintf("%d,%s", id, m.rows[id]))
		delete(m.parked, id)
	case k < 14:
		delete(m.rows, id)
		m.rig.do(0, change.Delete, fmt.Sprint(id), "")
		delete(m.parked, id)
	default:
		m.move(id)
	}
}

func (m *parkedModel) park(ids ...int) {
	m.held++
	for _, id := range ids {
		m.parked[id] = true
	}
}

func (m *parkedModel) move(id int) {
	to := 1 + m.rnd.IntN(12)
	was := m.rows[id]
	if _, taken := m.rows[to]; taken || to == id {
		m.total--
		return
	}
	delete(m.rows, id)
	_, big, _ := strings.Cut(was, ",")
	switch m.rnd.IntN(3) {
	case 0:
		m.rows[to] = fmt.Sprintf("m%d,%s", m.n, big)
		m.rig.move(fmt.Sprint(id), fmt.Sprintf("%d,m%d,?", to, m.n))
		if m.parked[id] || m.parked[to] {
			m.park(id, to)
		}
	case 1:
		m.rows[to] = fmt.Sprintf("m%d,m%d", m.n, m.n)
		m.rig.move(fmt.Sprint(id), fmt.Sprintf("%d,%s", to, m.rows[to]))
		delete(m.parked, id)
		delete(m.parked, to)
	default:
		m.rows[to] = fmt.Sprintf("s%d,s%d", m.n, m.n)
		m.rig.stub(change.Update, fmt.Sprint(id), fmt.Sprint(to))
		m.park(id, to)
	}
}

func (m *parkedModel) check(t *testing.T) {
	t.Helper()
	var want, keys []string
	for id := range 13 {
		if m.parked[id] {
			keys = append(keys, fmt.Sprint(id))
		} else if v, ok := m.rows[id]; ok {
			want = append(want, fmt.Sprintf("%d,%s", id, v))
		}
	}
	in := "(0" + strings.Join(append([]string{""}, keys...), ",") + ")"
	m.rig.want("SELECT id || ',' || a || ',' || big FROM p WHERE id NOT IN "+in+" ORDER BY id", strings.Join(want, " "))
	m.rig.want("SELECT key_values[1] FROM segue.parked ORDER BY key_values[1]::int", strings.Join(keys, " "))
	m.rig.want("SELECT changes || ' ' || parked FROM segue.progress", fmt.Sprintf("%d %d", m.total, m.held))
	if n := m.rig.target.Progress().ParkedRows; int(n) != len(keys) {
		t.Errorf("%d rows parked in memory, %d on the target", n, len(keys))
	}
}

// TestParkedHistories runs random histories with stubs, partial updates and key changes through batches and slices of every size, with lives
// that end in between. All keys that are not parked hold what the source has; once the others are read from the source, so do they.
// SEGUE_HISTORIES sets how many.
func TestParkedHistories(t *testing.T) {
	n := 5
	if s := os.Getenv("SEGUE_HISTORIES"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	for seed := range uint64(n) {
		r := newParkedRig(t)
		m := &parkedModel{rig: r, rnd: rand.New(rand.NewPCG(seed, 1)), rows: map[int]string{}, parked: map[int]bool{}}
		t.Logf("seed %d", seed)
		for range 30 {
			var batches []frontier.Batch[change.Mapped]
			for range 1 + m.rnd.IntN(3) {
				for range 1 + m.rnd.IntN(6) {
					m.step()
				}
				if len(batches) == 0 && len(r.open) > 0 && m.rnd.IntN(4) == 0 { // a slice of an open transaction
					if err := r.apply(r.batch(false)); err != nil {
						t.Fatal(err)
					}
					m.step()
				}
				r.commit()
				batches = append(batches, r.batch(true))
			}
			if err := r.apply(batches...); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			m.check(t)
			if m.rnd.IntN(6) == 0 {
				r.reopen()
			}
		}
		for _, id := range slices.Sorted(maps.Keys(m.parked)) { // what a request for the keys brings
			m.total++
			if v, ok := m.rows[id]; ok {
				r.do(0, change.Read, "", fmt.Sprintf("%d,%s", id, v))
			} else {
				r.do(0, change.Delete, fmt.Sprint(id), "")
			}
		}
		clear(m.parked)
		r.must()
		m.check(t)
	}
}

// Many rows that are asked for at once go in several requests: each has to fit into a record.
func TestRequestsStaySmall(t *testing.T) {
	r := newParkedRig(t)
	for i := range 2500 {
		r.do(0, change.Update, "", fmt.Sprintf("%d,x,?", i))
	}
	r.must()
	if len(r.asker.keys) != 2500 || r.asker.most != maxRequestKeys {
		t.Errorf("asked for %d keys, at most %d in a request", len(r.asker.keys), r.asker.most)
	}
}
