package chunk

import (
	"segue/pkg/change"
	"segue/pkg/table"
)

// Rows returns the rows of a block range, read under the snapshot, as they are at the high watermark: on top of what the
// snapshot contains come the window's other changes, in stream order. Absent columns keep the chunk's value, a delete and a truncate
// drop rows, a key change moves one. Keys that the chunk did not find are left to the stream. A row behind a stub has the columns that later
// changes told, the others are absent: it is not known.
func (w *Window) Rows(s Snapshot, rows []change.Row) []change.Row {
	later := w.later(s)
	if len(later) == 0 {
		return rows
	}
	o := newOverlay(w.table)
	o.track(later)
	o.found(rows)
	o.play(later)
	return o.present()
}

// Answer is what a list of keys came to at the high watermark.
type Answer struct {
	Rows []change.Row // the rows that are there
	Gone []change.Row // keys that were asked for and are not there: rows with nothing but the key's columns
}

// Keys is Rows for a list of keys: found holds the rows that the chunk read, asked a row for each key, nothing but the
// key's columns set. Each asked key is either among the rows or gone. It returns false where the window moved another row onto an
// asked key and does not say all of it: the chunk must be read again.
func (w *Window) Keys(s Snapshot, asked, found []change.Row) (Answer, bool) {
	later := w.later(s)
	o := newOverlay(w.table)
	o.track(later)
	o.ask(asked)
	o.found(found)
	o.play(later)
	return o.answer()
}

// later are the changes that the snapshot does not contain.
func (w *Window) later(s Snapshot) []*change.Change {
	var out []*change.Change
	for _, c := range w.changes {
		if !s.Sees(c.Tx.XID) {
			out = append(out, c)
		}
	}
	return out
}

// state is what is known of one key.
type state uint8

const (
	unknown state = iota // not the chunk's: the stream tells of it
	present
	gone
)

// slot is one key that the window touches or that was asked for.
type slot struct {
	state state
	row   change.Row // where present
	asked change.Row // the key, where it was asked for
}

// overlay is one run of the window's changes over a chunk's rows.
type overlay struct {
	table *table.Table
	slots map[string]*slot
	order []*slot      // in order of first appearance, so that the result is the same every time
	rest  []change.Row // rows that no change touches
	key   []byte
}

func newOverlay(t *table.Table) *overlay { return &overlay{table: t, slots: map[string]*slot{}} }

func (o *overlay) at(key change.Row) *slot {
	o.key = key.AppendKey(o.key[:0], o.table.Key)
	s := o.slots[string(o.key)]
	if s == nil {
		s = &slot{}
		o.slots[string(o.key)] = s
		o.order = append(o.order, s)
	}
	return s
}

// track makes a slot for every key that a change names.
func (o *overlay) track(later []*change.Change) {
	for _, c := range later {
		if c.Before != nil {
			o.at(c.Before)
		}
		if c.After != nil {
			o.at(c.After)
		}
	}
}

func (o *overlay) ask(asked []change.Row) {
	for _, k := range asked {
		s := o.at(k)
		s.asked, s.state = k, gone
	}
}

func (o *overlay) found(rows []change.Row) {
	for _, r := range rows {
		o.key = r.AppendKey(o.key[:0], o.table.Key)
		if s := o.slots[string(o.key)]; s != nil {
			s.state, s.row = present, r
			continue
		}
		o.rest = append(o.rest, r)
	}
}

func (o *overlay) play(later []*change.Change) {
	for _, c := range later {
		switch c.Op {
		case change.Truncate:
			o.truncate()
		case change.Delete:
			o.at(c.Before).become(gone, nil)
		case change.Insert, change.Read:
			if s := o.at(c.After); s.state == gone {
				s.become(present, c.After)
			}
		case change.Update:
			o.update(c)
		}
	}
}

func (o *overlay) truncate() {
	o.rest = nil
	for _, s := range o.order {
		s.become(gone, nil)
	}
}

// update merges a new version into the row that it belongs to. A row that is not the chunk's stays the stream's, wherever it
// moves; only where it moves onto a key that the chunk knows of, that key's state changes with it.
func (o *overlay) update(c *change.Change) {
	from, to := o.at(c.Key()), o.at(c.After)
	was, row := from.state, from.row
	if from != to {
		from.become(gone, nil)
	}
	switch {
	case was == present && c.Fault != nil:
		to.become(present, c.After) // a stub: every other column may have changed
	case was == present:
		to.become(present, merge(row, c.After))
	case to.asked != nil && o.whole(c.After):
		to.become(present, c.After)
	default:
		to.become(unknown, nil)
	}
}

func (s *slot) become(to state, row change.Row) { s.state, s.row = to, row }

// merge puts what the update carries over the row that was read; neither is changed.
func merge(row, after change.Row) change.Row {
	out := make(change.Row, len(row))
	copy(out, row)
	for i, v := range after {
		if !v.IsAbsent() {
			out[i] = v
		}
	}
	return out
}

// whole says whether a row has every column that the stream ever carries.
func (o *overlay) whole(r change.Row) bool {
	for i, v := range r {
		if v.IsAbsent() && !o.table.Columns[i].Generated {
			return false
		}
	}
	return true
}

func (o *overlay) present() []change.Row {
	out := o.rest
	for _, s := range o.order {
		if s.state == present {
			out = append(out, s.row)
		}
	}
	return out
}

func (o *overlay) answer() (Answer, bool) {
	out := Answer{Rows: o.present()}
	for _, s := range o.order {
		if s.asked == nil {
			continue
		}
		switch s.state {
		case unknown:
			return Answer{}, false
		case gone:
			out.Gone = append(out.Gone, s.asked)
		case present:
		}
	}
	return out, true
}
