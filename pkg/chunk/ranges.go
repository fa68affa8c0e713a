package chunk

import (
	"slices"

	"segue/pkg/frontier"
)

// insert adds a range to ascending ranges and merges what touches. An empty one changes nothing.
func insert(done []frontier.Range, r frontier.Range) []frontier.Range {
	if r.From >= r.To {
		return done
	}
	all := append(slices.Clone(done), r)
	slices.SortFunc(all, func(a, b frontier.Range) int { return int(int64(a.From) - int64(b.From)) })
	out := all[:1]
	for _, x := range all[1:] {
		last := &out[len(out)-1]
		if x.From <= last.To {
			last.To = max(last.To, x.To)
			continue
		}
		out = append(out, x)
	}
	return out
}

// Progress is how far the load of one table is.
type Progress struct {
	Blocks, Done uint64
	Rows         int64 // the planner's estimate; -1 where it has none
	Complete     bool
}

// Progress sums up the heaps of each table, by the table's name for people.
func (p *Plan) Progress() map[string]Progress {
	out := map[string]Progress{}
	for _, h := range p.heaps {
		name := h.Table.Name.String()
		sum, seen := out[name]
		if !seen {
			sum.Complete = true
		}
		sum.Blocks += uint64(h.Blocks)
		if h.Table.Keyless() && h.tail {
			sum.Done += uint64(h.Blocks)
		}
		for _, d := range h.done {
			sum.Done += uint64(d.To - d.From)
		}
		if h.Rows < 0 || sum.Rows < 0 {
			sum.Rows = -1
		} else {
			sum.Rows += h.Rows
		}
		sum.Complete = sum.Complete && h.complete()
		out[name] = sum
	}
	return out
}
