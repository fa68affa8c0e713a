package reconciler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/mapping"
	"segue/pkg/pgdigest"
	"segue/pkg/reconcile"
	"segue/pkg/table"
)

// unit is one target table under comparison, with the rules that feed it.
type unit struct {
	index   int
	shape   pgdigest.Shape // of the target
	span    *span          // which of its rows; nil: all
	feeders []*feeder
	state   *reconcile.Unit
	heaps   []pgdigest.Heap // of the target
	failed  string          // why it cannot be compared at all
	// finished is when the last row was compared; zero: not yet.
	finished time.Time
}

// comparison begins the unit's comparison, of about that many rows.
func (u *unit) comparison(rows int64) *reconcile.Unit {
	if u.shape.Lots {
		return reconcile.NewLots(rows)
	}
	return reconcile.NewUnit(rows)
}

// leading is the target key's first column.
func (u *unit) leading() *table.Column {
	return &u.shape.Table.Columns[u.shape.Columns[u.shape.Key[0]]]
}

// feeder is one source table that feeds a unit, through one rule.
type feeder struct {
	index  int // in the unit
	source *table.Table
	rule   *mapping.Rule
	// pure: both sides can be digested by their servers, columns being copied with the same text.
	pure  bool
	shape pgdigest.Shape // of the source, where pure
	// keyed: the target key is the source key, column for column, so that one tells the other. The ordinals are of the source
	// columns in the order of the target key.
	keyed bool
	key   []int
	rows  *pgdigest.Converter // for whole expected rows
	keys  *pgdigest.Converter // for target keys alone
	heaps []pgdigest.Heap
}

// unitsOf makes a unit of each target table that is to be compared.
func unitsOf(m *mapping.Mapping, only []table.Name) ([]*unit, error) {
	var units []*unit
	byTarget := map[table.Name]*unit{}
	for _, rule := range m.Rules() {
		target := rule.Target()
		u := byTarget[target.Table.Name]
		if u == nil {
			u = &unit{index: len(units), shape: shapeOf(target)}
			byTarget[target.Table.Name] = u
			units = append(units, u)
		}
		if !slices.Equal(u.shape.Columns, target.Columns) {
			u.failed = "its source tables set different columns: this cannot be compared yet"
		}
		u.feeders = append(u.feeders, newFeeder(len(u.feeders), rule))
	}
	return selected(units, only)
}

func shapeOf(t *change.Target) pgdigest.Shape {
	return pgdigest.Shape{Table: t.Table, Columns: t.Columns, Key: t.Key, Lots: t.Keyless}
}

func selected(units []*unit, only []table.Name) ([]*unit, error) {
	if len(only) == 0 {
		return units, nil
	}
	found := map[table.Name]bool{}
	units = slices.DeleteFunc(units, func(u *unit) bool {
		keep := slices.Contains(only, u.shape.Table.Name)
		found[u.shape.Table.Name] = true
		for _, f := range u.feeders {
			keep = keep || slices.Contains(only, f.source.Name)
			found[f.source.Name] = true
		}
		return !keep
	})
	var unknown []string
	for _, name := range only {
		if !found[name] {
			unknown = append(unknown, name.String())
		}
	}
	if len(unknown) > 0 {
		return nil, fault.Fatal(fmt.Errorf("compare %s: no rule of the migration names it", strings.Join(unknown, ", ")),
			"name tables of segue.yaml, by their source or target name")
	}
	for i, u := range units {
		u.index = i
	}
	return units, nil
}

func newFeeder(index int, rule *mapping.Rule) *feeder {
	f := &feeder{index: index, source: rule.Source(), rule: rule, pure: rule.Pure(), keyed: true}
	target := rule.Target()
	f.shape = pgdigest.Shape{Table: f.source, Key: target.Key, Lots: target.Keyless}
	var rowIndices, keyIndices []int
	var rowColumns, keyColumns []*table.Column
	for i, c := range rule.Columns() {
		column := &target.Table.Columns[c.Target]
		f.shape.Columns = append(f.shape.Columns, c.Source)
		if c.Source >= 0 && pgdigest.SameText(&f.source.Columns[c.Source], column) {
			continue
		}
		f.pure = false
		rowIndices, rowColumns = append(rowIndices, i), append(rowColumns, column)
		if k := slices.Index(target.Key, i); k >= 0 {
			keyIndices, keyColumns = append(keyIndices, k), append(keyColumns, column)
		}
	}
	for _, k := range target.Key {
		o := rule.Columns()[k].Source
		f.keyed = f.keyed && o >= 0 && f.source.IsKey(o)
		f.key = append(f.key, o)
	}
	f.keyed = f.keyed && len(f.key) == len(f.source.Key) && len(f.key) > 0
	f.rows, f.keys = pgdigest.NewConverter(rowIndices, rowColumns), pgdigest.NewConverter(keyIndices, keyColumns)
	return f
}

// estimate is about how many rows the larger side has.
func (u *unit) estimate() int64 {
	var expected int64
	for _, f := range u.feeders {
		expected += rowsIn(f.heaps)
	}
	return max(expected, rowsIn(u.heaps))
}

// rowsPerBlock is a guess for heaps that were never analysed.
const rowsPerBlock = 50

func rowsIn(heaps []pgdigest.Heap) (n int64) {
	for _, h := range heaps {
		if h.Rows == 0 {
			n += int64(h.Blocks) * rowsPerBlock
		}
		n += h.Rows
	}
	return n
}
