package reconciler

import (
	"slices"

	"segue/pkg/change"
	"segue/pkg/reconcile"
	"segue/pkg/table"
)

// Repair names the source rows by which a table's differences are mended: the reader is asked for their keys, and each comes through the lanes as
// the source has it, or as a delete. Keys are for the reader alone; they never go to logs (P10).
type Repair struct {
	Source table.Name
	// Extra are rows that the target has and the source does not make; Other are missing and different ones. Keys are in the
	// order of the source table's key, in the texts that the target has for them.
	Extra, Other []change.Row
	// Target are the keys of Extra in the order of the target's key.
	Target []change.Row
	// Unnamed is how many differing rows no source key can be told of: the target's key is computed, or several source rows make the row.
	Unnamed int64
}

func (r *Repair) join(o Repair) {
	r.Extra, r.Other, r.Target = append(r.Extra, o.Extra...), append(r.Other, o.Other...), append(r.Target, o.Target...)
	r.Unnamed += o.Unnamed
}

// repair tells of the findings that were kept. (Those beyond are found by the next comparison.)
func (u *unit) repair(d reconcile.Drift) (r Repair) {
	if len(u.feeders) != 1 || !u.feeders[0].keyed {
		r.Unnamed = d.Rows()
		return r
	}
	f := u.feeders[0]
	r.Source = f.source.Name
	for _, found := range d.Examples {
		key, err := reconcile.ParseCanonical(found.Key)
		if err != nil || len(key) != len(f.key) || found.Kind == reconcile.Doubled {
			r.Unnamed++
			continue
		}
		source := make(change.Row, len(f.source.Key))
		for i, o := range f.source.Key {
			source[i] = key[slices.Index(f.key, o)]
		}
		if found.Kind == reconcile.Extra {
			r.Extra, r.Target = append(r.Extra, source), append(r.Target, key)
			continue
		}
		r.Other = append(r.Other, source)
	}
	return r
}
