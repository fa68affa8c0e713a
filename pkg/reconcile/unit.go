package reconcile

import (
	"maps"
	"slices"

	"segue/pkg/change"
)

// Mode is how closely a task looks.
type Mode uint8

// The modes, from the widest to the closest look.
const (
	Whole Mode = iota // sums of all buckets
	List              // the hash of each key in some buckets
	Keys              // the hash of some keys
)

func (m Mode) String() string { return [...]string{"whole", "list", "keys"}[m] }

// Task says what to read of both sides of one table in the next round.
type Task struct {
	Mode    Mode
	Buckets int
	Select  Bits           // List: the buckets to read
	Wanted  map[string]Key // Keys: by the target key's canonical text
}

// Wants says whether a row with that key belongs to the task. Not for Whole, which wants all.
func (t *Task) Wants(key []byte) bool {
	switch t.Mode {
	case Whole:
		return true
	case List:
		return t.Select.Has(Bucket(key, t.Buckets))
	case Keys:
	}
	_, ok := t.Wanted[string(key)]
	return ok
}

// Key is a target key that is to be looked up, with the source rows that it came from.
type Key struct{ Sources []SourceKey }

// Side is what one side answers to a task: sums per bucket (Whole), or per key.
type Side struct {
	Buckets []Sum
	Keys    map[string]Sum
}

// NewSide makes an empty answer to the task.
func NewSide(t Task) *Side {
	if t.Mode == Whole {
		return &Side{Buckets: make([]Sum, t.Buckets)}
	}
	return &Side{Keys: map[string]Sum{}}
}

// Add counts a row in; one that the task does not want is left out.
func (s *Side) Add(t *Task, key []byte, h Hash) {
	if s.Buckets != nil {
		s.Buckets[Bucket(key, t.Buckets)].Add(h)
		return
	}
	if t.Wants(key) {
		s.AddKey(string(key), h)
	}
}

// AddKey counts in a row of a key that is wanted.
func (s *Side) AddKey(key string, h Hash) {
	sum := s.Keys[key]
	sum.Add(h)
	s.Keys[key] = sum
}

// Unit is the comparison of one target table with all that feeds it. It knows what is proved and what is left.
type Unit struct {
	lots     bool
	estimate int64
	buckets  int
	begun    bool
	open     Bits           // buckets that are to be listed
	rows     []uint32       // about how many rows each of them holds
	wanted   map[string]Key // keys that are to be looked up

	compared int64
	drift    Drift
	from, to change.Position
	reason   string
	rounds   int
}

// NewUnit begins the comparison of a table of about that many rows.
func NewUnit(rows int64) *Unit {
	return &Unit{estimate: rows, buckets: Buckets(rows), wanted: map[string]Key{}}
}

// Keep makes the unit keep up to that many findings: those who mend want all of them.
func (u *Unit) Keep(findings int) { u.drift.keep = findings }

// NewLots begins the comparison of a table without key: a key is the hash of a whole row, and as many rows are expected under it as the source
// has.
func NewLots(rows int64) *Unit {
	u := NewUnit(rows)
	u.lots = true
	return u
}

// Limits of one task, which bound the memory of a round.
const (
	listRows   = 100_000 // about how many keys are listed at once
	lookUps    = 5_000   // how many keys are looked up at once
	maxWanted  = 50_000  // how many keys may wait to be looked up
	bucketCost = 48      // bytes of one bucket, both sides
	keyCost    = 400     // bytes of one key, both sides
)

// Done says that every row was compared.
func (u *Unit) Done() bool { return u.begun && u.open.Empty() && len(u.wanted) == 0 }

// Begun says that some of the unit was compared.
func (u *Unit) Begun() bool { return u.begun }

// Next is the unit's task in the next round, and about how many bytes its answers take. Not for a unit that is done.
func (u *Unit) Next() (Task, int) {
	t := Task{Buckets: u.buckets}
	if !u.begun {
		return t, u.buckets * bucketCost
	}
	if len(u.wanted) > maxWanted/2 || u.open.Empty() {
		t.Mode, t.Wanted = Keys, map[string]Key{}
		for text, key := range u.wanted {
			if t.Wanted[text] = key; len(t.Wanted) == lookUps {
				break
			}
		}
		return t, len(t.Wanted) * keyCost
	}
	t.Mode, t.Select = List, NewBits(u.buckets)
	rows := 0
	for b := range u.open.All() {
		if rows > 0 && rows+int(u.rows[b]) > listRows {
			break
		}
		t.Select.Set(b)
		rows += int(u.rows[b])
	}
	return t, rows * keyCost
}

// Postpone notes why a round told nothing about the table; the next one tries again.
func (u *Unit) Postpone(reason string) { u.reason = reason }

// Absorb takes both answers of a round at position h, leaving out what was touched.
func (u *Unit) Absorb(t Task, source, target *Side, touched View, h change.Position) {
	u.rounds++
	if touched.All {
		u.reason = "the stream changed more of the table than can be followed in one round"
		return
	}
	u.reason = ""
	if u.from.Zero() || h.Before(u.from) {
		u.from = h
	}
	if u.to.Before(h) {
		u.to = h
	}
	switch t.Mode {
	case Whole:
		u.absorbWhole(source, target, touched)
	case List:
		u.absorbList(t, source, target, touched)
	case Keys:
		u.absorbKeys(t, source, target, touched)
	}
	if u.Done() {
		u.open, u.rows = nil, nil // a large table is compared as many units: what is done keeps nothing
	}
}

func (u *Unit) absorbWhole(source, target *Side, touched View) {
	u.begun, u.open, u.rows = true, NewBits(u.buckets), make([]uint32, u.buckets)
	for key := range touched.keys {
		u.open.Set(Bucket([]byte(key), u.buckets))
	}
	for b := range u.buckets {
		switch {
		case u.open.Has(b) || source.Buckets[b] != target.Buckets[b]:
			u.open.Set(b)
			u.rows[b] = uint32(max(source.Buckets[b].Rows, target.Buckets[b].Rows, 1))
		default:
			u.compared += source.Buckets[b].Rows
		}
	}
}

func (u *Unit) absorbList(t Task, source, target *Side, touched View) {
	later := map[string]Key{}
	full := NewBits(u.buckets)
	for key, touch := range touched.keys {
		b := Bucket([]byte(key), u.buckets)
		if !t.Select.Has(b) {
			continue
		}
		if len(later)+len(u.wanted) >= maxWanted {
			full.Set(b) // the bucket waits; nothing of it counts in this round
			continue
		}
		later[key] = Key{Sources: touch.sources}
	}
	judge := func(key string) bool {
		_, wait := later[key]
		return !wait && !full.Has(Bucket([]byte(key), u.buckets))
	}
	u.judgeAll(source, target, judge)
	for key, k := range later {
		if !full.Has(Bucket([]byte(key), u.buckets)) {
			u.wanted[key] = k
		}
	}
	for b := range t.Select.All() {
		if !full.Has(b) {
			u.open.Clear(b)
		}
	}
}

func (u *Unit) absorbKeys(t Task, source, target *Side, touched View) {
	u.judgeAll(source, target, func(key string) bool { return !touched.Has(key) })
	for key := range t.Wanted {
		touch, again := touched.keys[key]
		if !again {
			delete(u.wanted, key)
			continue
		}
		k := u.wanted[key]
		for _, s := range touch.sources {
			if !slices.Contains(k.Sources, s) {
				k.Sources = append(slices.Clone(k.Sources), s)
			}
		}
		u.wanted[key] = k
	}
}

// judgeAll compares the keys that either side holds and that the round may judge.
func (u *Unit) judgeAll(source, target *Side, judge func(string) bool) {
	for key, s := range source.Keys {
		if judge(key) {
			u.compared += s.Rows
			u.judge(key, s, target.Keys[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(target.Keys)) {
		if _, both := source.Keys[key]; !both && judge(key) {
			u.judge(key, Sum{}, target.Keys[key])
		}
	}
}

func (u *Unit) judge(key string, expected, actual Sum) {
	if u.lots {
		u.drift.judgeLot(key, expected, actual)
		return
	}
	u.drift.judge(key, expected, actual)
}

// left is about how many rows were not compared yet.
func (u *Unit) left() int64 {
	if !u.begun {
		return u.estimate
	}
	n := int64(len(u.wanted))
	for b := range u.open.All() {
		n += int64(u.rows[b])
	}
	return n
}

// Merge counts in what another answer to the same task holds.
func (s *Side) Merge(o *Side) {
	for b := range o.Buckets {
		s.Buckets[b].Merge(o.Buckets[b])
	}
	for key, sum := range o.Keys {
		held := s.Keys[key]
		held.Merge(sum)
		s.Keys[key] = held
	}
}
