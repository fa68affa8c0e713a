package chunk

import (
	"segue/pkg/frontier"
	"segue/pkg/table"
)

// A table without key knows no upsert, so that a chunk's rows could not be laid over what is there: it is loaded as one piece, behind a
// truncate. Its load has no ranges; it is complete or it is nothing.

// NextWhole hands out a table without key that is not loaded; false where there is none. One is handed out at a time: each holds a snapshot
// on the source.
func (p *Plan) NextWhole() (Chunk, bool) {
	var next *heap
	for _, h := range p.heaps {
		switch {
		case !h.Table.Keyless():
		case h.out > 0:
			return Chunk{}, false
		case !h.tail && next == nil:
			next = h
		}
	}
	if next == nil {
		return Chunk{}, false
	}
	next.out++
	return Chunk{Table: next.Table, Leaf: next.Leaf, Filenode: next.Filenode, Whole: true}, true
}

// void is Restart for a table without key. A load that is under way will do: its rows are as new as those of one that is begun now.
func (p *Plan) void(h Heap) (out frontier.Load) {
	p.Void(h.Table.Name)
	for _, known := range p.heaps {
		if known.Table.Name == h.Table.Name && known.Leaf == h.Leaf {
			out = known.load()
		}
	}
	return out
}

// Void takes the load of a table without key back, so that it is loaded again. One that is not complete stays as it is.
func (p *Plan) Void(n table.Name) {
	for _, h := range p.heaps {
		if h.Table.Name == n && h.Table.Keyless() {
			h.tail = false
		}
	}
}
