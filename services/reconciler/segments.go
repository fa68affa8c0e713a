package reconciler

import (
	"context"
	"slices"
	"sort"
	"strconv"
	"strings"

	"segue/pkg/change"
	"segue/pkg/pgdigest"
	"segue/pkg/reconcile"
)

// A large table is compared in segments of its key's order, each a unit of its own: so the time between a round's floor and its
// watermark stays short, and with it the number of keys that the stream touches meanwhile, however large the table is. Only types whose
// order is the same everywhere are cut; others (texts have collations) are compared as a whole, by hash.

// span is a piece of the order of the key's first column: from low, up to but without high; "" is no bound.
type span struct {
	low, high string
	less      func(a, b string) bool
}

// order is the order of a type's texts, nil where it may differ from server to server.
func order(base string) func(a, b string) bool {
	switch base {
	case "smallint", "integer", "bigint":
		return func(a, b string) bool {
			m, _ := strconv.ParseInt(a, 10, 64)
			n, _ := strconv.ParseInt(b, 10, 64)
			return m < n
		}
	case "uuid":
		return func(a, b string) bool { return strings.Compare(a, b) < 0 }
	}
	return nil
}

// cuttable says how a unit's key is ordered, nil where it cannot be cut: it must be the same column, of the same text, on
// both sides, and lead an index on both.
func (u *unit) cuttable() func(a, b string) bool {
	if len(u.feeders) != 1 || !u.feeders[0].keyed || u.feeders[0].keys.Needed() {
		return nil
	}
	f := u.feeders[0]
	if len(f.source.Key) == 0 || f.key[0] != f.source.Key[0] {
		return nil
	}
	less := order(f.source.Columns[f.key[0]].Base)
	if less == nil || order(u.leading().Base) == nil {
		return nil
	}
	return less
}

// segments cuts a unit where it is large; else it returns the unit alone.
func (c *Comparer) segments(ctx context.Context, u *unit) ([]*unit, error) {
	less := u.cuttable()
	if less == nil || u.estimate() < 2*c.cfg.SegmentRows {
		return []*unit{u}, nil
	}
	f := u.feeders[0]
	bounds, err := pgdigest.Split(ctx, c.sources[0], f.source, f.key[0], c.cfg.SegmentRows, c.cfg.limits())
	if err != nil {
		return nil, err
	}
	bounds = slices.Concat([]string{""}, bounds, []string{""})
	var out []*unit
	for i := range len(bounds) - 1 {
		piece := *u
		piece.span = &span{low: bounds[i], high: bounds[i+1], less: less}
		piece.state = reconcile.NewUnit(c.cfg.SegmentRows)
		out = append(out, &piece)
	}
	return out, nil
}

// find returns the unit that a target key belongs to; units are in the order of their spans.
func find(units []*unit, key change.Row) *unit {
	if len(units) == 1 {
		return units[0]
	}
	value := string(key[0].Bytes())
	above := sort.Search(len(units)-1, func(i int) bool { return units[i+1].span.less(value, units[i+1].span.low) })
	return units[above]
}

// prepare measures all units and cuts the large ones; once, however often the connections are made anew.
func (c *Comparer) prepare(ctx context.Context) error {
	if c.prepared {
		return nil
	}
	var units []*unit
	for _, u := range c.units {
		if err := c.measure(ctx, u); err != nil {
			return err
		}
		u.state = u.comparison(u.estimate())
		pieces, err := c.segments(ctx, u)
		if err != nil {
			return err
		}
		units = append(units, pieces...)
	}
	for i, u := range units {
		u.index = i
		u.state.Keep(c.cfg.Keep / len(units))
	}
	c.units, c.prepared = units, true
	return nil
}
