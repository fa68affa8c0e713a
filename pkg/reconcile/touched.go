package reconcile

import (
	"slices"

	"segue/pkg/chunk"
)

// SourceKey identifies a row of one of a table's feeders: the feeder's index, the key in canonical text.
type SourceKey struct {
	Feeder int
	Text   string
}

// Touched holds the target keys that the stream changed and that the floor may not see, per compared table. Its memory is bounded: a
// table with more such keys than the limit is touched as a whole, until the floor sees what was lost.
type Touched struct {
	limit  int
	tables map[int]*touchedTable
}

type touchedTable struct {
	keys map[string]*touch
	// whole: the transactions that touched all keys (truncates, changes that could not be mapped, keys beyond the limit).
	whole xids
}

type touch struct {
	by      xids
	sources []SourceKey
}

// maxSources bounds the source rows that are kept for one target key.
const maxSources = 16

// NewTouched makes an empty set that keeps at most limit keys per table.
func NewTouched(limit int) *Touched {
	return &Touched{limit: limit, tables: map[int]*touchedTable{}}
}

func (t *Touched) table(i int) *touchedTable {
	u := t.tables[i]
	if u == nil {
		u = &touchedTable{keys: map[string]*touch{}}
		t.tables[i] = u
	}
	return u
}

// Add says that transaction xid changed the row with that target key, through that source row.
func (t *Touched) Add(tableIndex int, key []byte, source SourceKey, xid uint32) {
	u := t.table(tableIndex)
	k := u.keys[string(key)]
	if k == nil {
		if len(u.keys) >= t.limit {
			t.AddAll(tableIndex, xid)
			return
		}
		k = &touch{}
		u.keys[string(key)] = k
	}
	k.by.add(xid)
	if slices.Contains(k.sources, source) {
		return
	}
	if len(k.sources) >= maxSources {
		t.AddAll(tableIndex, xid)
		return
	}
	k.sources = append(k.sources, source)
}

// AddAll says that transaction xid touched all keys of the table, or keys that cannot be told.
func (t *Touched) AddAll(tableIndex int, xid uint32) {
	u := t.table(tableIndex)
	u.whole.add(xid)
}

// Prune drops what the snapshot sees. Snapshots come in the order in which they were taken.
func (t *Touched) Prune(floor chunk.Snapshot) {
	for i, u := range t.tables {
		for key, k := range u.keys {
			k.by.prune(floor)
			if k.by.empty() {
				delete(u.keys, key)
			}
		}
		u.whole.prune(floor)
		if len(u.keys) == 0 && u.whole.empty() {
			delete(t.tables, i)
		}
	}
}

// View is what was touched of one table.
type View struct {
	All  bool
	keys map[string]*touch
}

// View returns what is left of a table after the last Prune; it is a copy.
func (t *Touched) View(tableIndex int) View {
	u := t.tables[tableIndex]
	if u == nil {
		return View{}
	}
	v := View{All: !u.whole.empty(), keys: make(map[string]*touch, len(u.keys))}
	for key, k := range u.keys {
		v.keys[key] = &touch{sources: slices.Clone(k.sources)}
	}
	return v
}

// Has says whether the key was touched.
func (v View) Has(key string) bool {
	_, ok := v.keys[key]
	return v.All || ok
}
