package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/chunk"
)

// The model is a source that logs commits in one order and shows them in another, keeps row versions in places of a
// heap, and a target that holds what the log says, less the drift that was put there by hand.

type version struct {
	value int // 0: deleted
	place int
}

type commit struct {
	id      uint64
	changes map[int]version
	visible bool
}

type world struct {
	t       *rapid.T
	keys    int
	places  int
	log     []*commit
	xid     uint64
	begun   []uint64    // transactions that have an id and have not committed
	drifted map[int]int // key → value on the target, 0: no row
}

const firstXid = 1<<32 - 20 // the ids wrap in the low 32 bits

// step makes one random thing happen on the source.
func (w *world) step() {
	if rapid.IntRange(0, 2).Draw(w.t, "what") == 0 {
		if hidden := w.hidden(); len(hidden) > 0 {
			rapid.SampledFrom(hidden).Draw(w.t, "show").visible = true
		}
		return
	}
	if len(w.begun) == 0 || rapid.Bool().Draw(w.t, "begin") {
		w.begun = append(w.begun, w.xid)
		w.xid++
		return
	}
	i := rapid.IntRange(0, len(w.begun)-1).Draw(w.t, "commit")
	c := &commit{id: w.begun[i], changes: map[int]version{}}
	w.begun = slices.Delete(w.begun, i, i+1)
	for range rapid.IntRange(1, 3).Draw(w.t, "changes") {
		key := rapid.IntRange(1, w.keys).Draw(w.t, "key")
		if _, drifted := w.drifted[key]; drifted || w.locked(key) {
			continue
		}
		c.changes[key] = version{value: rapid.IntRange(0, 5).Draw(w.t, "value"), place: rapid.IntRange(0, w.places-1).Draw(w.t, "place")}
	}
	c.visible = rapid.Bool().Draw(w.t, "visible at once")
	w.log = append(w.log, c)
}

func (w *world) steps(most int) {
	for range rapid.IntRange(0, most).Draw(w.t, "steps") {
		w.step()
	}
}

func (w *world) hidden() []*commit {
	var out []*commit
	for _, c := range w.log {
		if !c.visible {
			out = append(out, c)
		}
	}
	return out
}

// locked: a row changed by a transaction that is not visible yet cannot be changed by another.
func (w *world) locked(key int) bool {
	for _, c := range w.hidden() {
		if _, ok := c.changes[key]; ok {
			return true
		}
	}
	return false
}

func (w *world) snapshot() chunk.Snapshot {
	s := chunk.Snapshot{Xmin: w.xid, Xmax: w.xid}
	s.Running = slices.Clone(w.begun)
	for _, c := range w.hidden() {
		s.Running = append(s.Running, c.id)
	}
	slices.Sort(s.Running)
	if len(s.Running) > 0 {
		s.Xmin = s.Running[0]
	}
	return s
}

// state is every key's newest version among the commits that are counted.
func (w *world) state(counts func(i int, c *commit) bool) map[int]version {
	out := map[int]version{}
	for i, c := range w.log {
		if counts(i, c) {
			maps.Copy(out, c.changes)
		}
	}
	return out
}

func keyText(key int) []byte {
	return AppendCanonical(nil, change.Row{change.String(fmt.Sprint(key))})
}

func rowHash(key, value int) Hash { return HashText(fmt.Appendf(nil, "%d=%d", key, value)) }

// readSource reads the heap place by place, with things happening in between, each place in its own snapshot.
func (w *world) readSource(t Task) *Side {
	side := NewSide(t)
	for place := range w.places {
		for key, v := range w.state(func(_ int, c *commit) bool { return c.visible }) {
			if v.place == place && v.value != 0 {
				side.Add(&t, keyText(key), rowHash(key, v.value))
			}
		}
		w.steps(3)
	}
	return side
}

func (w *world) readTarget(t Task, h int) *Side {
	side := NewSide(t)
	state := w.state(func(i int, _ *commit) bool { return i < h })
	for key, value := range w.drifted {
		state[key] = version{value: value}
	}
	for key, v := range state {
		if v.value != 0 {
			side.Add(&t, keyText(key), rowHash(key, v.value))
		}
	}
	return side
}

// round plays one round; the stream is followed from commit f0, x0 was drawn there.
func (w *world) round(u *Unit, touched *Touched, delivered int) int {
	task, _ := u.Next()
	floor := w.snapshot()
	w.steps(2)
	source := w.readSource(task)
	w.steps(2)
	h := len(w.log)
	w.steps(3)
	target := w.readTarget(task, h)
	for ; delivered < len(w.log); delivered++ {
		c := w.log[delivered]
		for key := range c.changes {
			touched.Add(0, keyText(key), SourceKey{Text: string(keyText(key))}, uint32(c.id))
		}
	}
	touched.Prune(floor)
	u.Absorb(task, source, target, touched.View(0), change.Position{Epoch: 1, LSN: uint64(h)})
	return delivered
}

func (w *world) settle() {
	for _, c := range w.log {
		c.visible = true
	}
}

func TestP7_NoVerdictWithoutProof(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, keys: rapid.IntRange(1, 40).Draw(t, "keys"), places: rapid.IntRange(1, 3).Draw(t, "places"), xid: firstXid, drifted: map[int]int{}}
		w.steps(30)
		follow := len(w.log)
		w.steps(3)
		x0 := w.xid
		w.log, w.xid = append(w.log, &commit{id: x0, visible: true}), w.xid+1
		for range rapid.IntRange(0, 3).Draw(t, "drift") {
			key := rapid.IntRange(1, w.keys).Draw(t, "drifted key")
			if !w.locked(key) {
				w.drifted[key] = rapid.SampledFrom([]int{0, 6, 7}).Draw(t, "drifted value")
			}
		}
		want := Drift{}
		for key, value := range w.drifted {
			judge(&want, w.state(func(int, *commit) bool { return true })[key].value, value)
		}
		u := NewUnit(int64(w.keys))
		touched := NewTouched(rapid.SampledFrom([]int{3, 1000}).Draw(t, "limit"))
		for rounds := 0; !u.Done() && rounds < 8; rounds++ {
			if w.snapshot().Passed(x0) {
				follow = w.round(u, touched, follow)
			} else {
				w.steps(5)
			}
			if u.Result().Verdict == Pass && len(w.drifted) > 0 && want.Rows() > 0 {
				t.Fatalf("pass with drift %v", w.drifted)
			}
		}
		// With the traffic at rest it must come to an end, and find exactly what is there.
		w.settle()
		w.begun = nil
		quiet := &world{t: t, keys: w.keys, places: 1, log: w.log, xid: w.xid, drifted: w.drifted}
		for rounds := 0; !u.Done(); rounds++ {
			if rounds > 20 {
				t.Fatalf("no end: %+v", u.Result())
			}
			follow = quiet.quietRound(u, touched, follow)
		}
		got := u.Result().Drift
		if got.Missing != want.Missing || got.Extra != want.Extra || got.Different != want.Different || int64(len(got.Examples)) != want.Rows() {
			t.Fatalf("drift %+v, want %+v of %v", got, want, w.drifted)
		}
		if verdict := u.Result().Verdict; (verdict == Pass) != (want.Rows() == 0) || verdict == Unknown {
			t.Fatalf("verdict %s with drift %v", verdict, w.drifted)
		}
		for _, f := range got.Examples {
			row, err := ParseCanonical(f.Key)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(slices.Collect(maps.Keys(w.drifted)), func(k int) bool { return fmt.Sprint(k) == string(row[0].Bytes()) }) {
				t.Fatalf("found %s, which did not drift", row[0].Bytes())
			}
		}
	})
}

func judge(d *Drift, source, target int) {
	switch {
	case source == target:
	case target == 0:
		d.Missing++
	case source == 0:
		d.Extra++
	default:
		d.Different++
	}
}

// quietRound is a round in which nothing happens.
func (w *world) quietRound(u *Unit, touched *Touched, delivered int) int {
	task, _ := u.Next()
	source := NewSide(task)
	for key, v := range w.state(func(int, *commit) bool { return true }) {
		if v.value != 0 {
			source.Add(&task, keyText(key), rowHash(key, v.value))
		}
	}
	for ; delivered < len(w.log); delivered++ {
		for key := range w.log[delivered].changes {
			touched.Add(0, keyText(key), SourceKey{}, uint32(w.log[delivered].id))
		}
	}
	touched.Prune(w.snapshot())
	u.Absorb(task, source, w.readTarget(task, len(w.log)), touched.View(0), change.Position{Epoch: 1, LSN: uint64(len(w.log))})
	return delivered
}
