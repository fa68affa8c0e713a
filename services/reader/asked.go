package reader

import (
	"slices"

	"segue/pkg/change"
	"segue/pkg/request"
	"segue/pkg/table"
)

// maxKeys bounds the keys that are read together; a request with more is read in pieces.
const maxKeys = 1000

// maxAsked bounds the keys that wait: the requests topic is read no further while there are more.
const maxAsked = 100_000

// asked follows the requests: what waits to be read, and up to which offset all are handled.
type asked struct {
	handled     int64 // every request before it is answered
	outstanding []outstanding
	queue       []ask
	keys        int
}

type outstanding struct {
	offset   int64
	answered bool
	whole    *resync // waits to be placed, once it is the first
}

type ask struct {
	offset int64
	table  *table.Table
	keys   []change.Row
}

// enter takes a request in. Without keys to read it is answered as it stands.
func (a *asked) enter(offset int64, t *table.Table, keys []change.Row) {
	a.outstanding = append(a.outstanding, outstanding{offset: offset, answered: len(keys) == 0})
	if len(keys) > 0 {
		a.queue = append(a.queue, ask{offset: offset, table: t, keys: keys})
		a.keys += len(keys)
	}
	a.settle()
}

// next takes the first request and those of the same table that fit beside it. Nil requests: there are none.
func (a *asked) next() (t *table.Table, keys []change.Row, requests []int64) {
	var rest []ask
	for _, q := range a.queue {
		if t == nil {
			t = q.table
		}
		if q.table != t || (len(keys) > 0 && len(keys)+len(q.keys) > maxKeys) {
			rest = append(rest, q)
			continue
		}
		keys = append(keys, q.keys...)
		requests = append(requests, q.offset)
	}
	a.queue = rest
	a.keys -= len(keys)
	return t, keys, requests
}

// done enters requests as answered.
func (a *asked) done(offsets []int64) {
	for i := range a.outstanding {
		if slices.Contains(offsets, a.outstanding[i].offset) {
			a.outstanding[i].answered = true
		}
	}
	a.settle()
}

// settle moves handled over the answered requests at the front: the ones behind an unanswered one are asked again after a restart.
func (a *asked) settle() {
	for len(a.outstanding) > 0 && a.outstanding[0].answered {
		a.handled = a.outstanding[0].offset + 1
		a.outstanding = a.outstanding[1:]
	}
}

// wide turns a request's keys into rows of the table's width; false where they are not this table's keys.
func wide(t *table.Table, r *request.Request) ([]change.Row, bool) {
	out := make([]change.Row, 0, len(r.Keys))
	for _, k := range r.Keys {
		if len(k) != len(t.Key) {
			return nil, false
		}
		row := make(change.Row, len(t.Columns))
		for i, at := range t.Key {
			row[at] = k[i]
		}
		out = append(out, row)
	}
	return out, true
}
