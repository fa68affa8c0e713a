package historytest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// any returns a random key of the map, in an order that the seed alone decides.
func anyKey[K cmp.Ordered, V any](r *rand.Rand, m map[K]V) (K, bool) {
	keys := slices.Sorted(maps.Keys(m))
	if len(keys) == 0 {
		var none K
		return none, false
	}
	return keys[r.IntN(len(keys))], true
}

// long is now and then stored out of line: random hexadecimal does not compress below the threshold.
func (h *History) long() string {
	if h.rnd.IntN(3) > 0 {
		return fmt.Sprintf("s%x", h.rnd.Uint32())
	}
	var b strings.Builder
	for b.Len() < 9000 {
		fmt.Fprintf(&b, "%016x", h.rnd.Uint64())
	}
	return b.String()
}

func (h *History) id() int64 { h.next++; return h.next }

func (h *History) amount() string { return fmt.Sprintf("%d.%02d", h.rnd.IntN(10_000), h.rnd.IntN(100)) }

func (h *History) insertParent() {
	id, p := h.id(), parent{name: fmt.Sprintf("n%d", h.rnd.IntN(100)), big: h.long()}
	h.do("INSERT INTO public.parent VALUES (%d, '%s', '%s')", id, p.name, p.big)
	h.draft.parents[id] = p
}

func (h *History) insertChild() {
	of, ok := anyKey(h.rnd, h.draft.parents)
	if !ok {
		h.insertParent()
		return
	}
	id, c := h.id(), child{parent: of, amount: h.amount(), big: h.long()}
	h.do(`INSERT INTO public."Child Row" VALUES (%d, %d, %s, '%s')`, id, of, c.amount, c.big)
	h.draft.children[id] = c
}

// updateParent leaves the long column alone most of the time: the log does not carry it then.
func (h *History) updateParent() {
	id, ok := anyKey(h.rnd, h.draft.parents)
	if !ok {
		return
	}
	p := h.draft.parents[id]
	if h.rnd.IntN(4) == 0 {
		p.big = h.long()
		h.do("UPDATE public.parent SET big = '%s' WHERE id = %d", p.big, id)
	} else {
		p.name = fmt.Sprintf("n%d", h.rnd.IntN(100))
		h.do("UPDATE public.parent SET name = '%s' WHERE id = %d", p.name, id)
	}
	h.draft.parents[id] = p
}

func (h *History) updateChild() {
	id, ok := anyKey(h.rnd, h.draft.children)
	if !ok {
		return
	}
	c := h.draft.children[id]
	if of, ok := anyKey(h.rnd, h.draft.parents); ok && h.rnd.IntN(3) == 0 {
		c.parent = of
	}
	c.amount = h.amount()
	h.do(`UPDATE public."Child Row" SET amount = %s, parent_id = %d WHERE id = %d`, c.amount, c.parent, id)
	h.draft.children[id] = c
}

func (h *History) moveChildKey() {
	id, ok := anyKey(h.rnd, h.draft.children)
	if !ok {
		return
	}
	to := h.id()
	h.do(`UPDATE public."Child Row" SET id = %d WHERE id = %d`, to, id)
	h.draft.children[to] = h.draft.children[id]
	delete(h.draft.children, id)
}

// moveParentKey moves a parent that has no children, or takes its children along.
func (h *History) moveParentKey() {
	id, ok := anyKey(h.rnd, h.draft.parents)
	if !ok {
		return
	}
	to := h.id()
	h.do("INSERT INTO public.parent SELECT %d, name, big FROM public.parent WHERE id = %d", to, id)
	h.do(`UPDATE public."Child Row" SET parent_id = %d WHERE parent_id = %d`, to, id)
	h.do("DELETE FROM public.parent WHERE id = %d", id)
	h.draft.parents[to] = h.draft.parents[id]
	delete(h.draft.parents, id)
	for k, c := range h.draft.children {
		if c.parent == id {
			c.parent = to
			h.draft.children[k] = c
		}
	}
}

// swapKeys turns the sign of every event's key, which is a chain of key changes that never collide.
func (h *History) swapKeys() {
	h.do("UPDATE public.event SET id = -id WHERE id <> 0")
	turned := map[int64]string{}
	for id, body := range h.draft.events {
		turned[-id] = body
	}
	h.draft.events = turned
}

func (h *History) deleteChild() {
	if id, ok := anyKey(h.rnd, h.draft.children); ok {
		h.do(`DELETE FROM public."Child Row" WHERE id = %d`, id)
		delete(h.draft.children, id)
	}
}

func (h *History) deleteParent() {
	id, ok := anyKey(h.rnd, h.draft.parents)
	if !ok {
		return
	}
	h.do(`DELETE FROM public."Child Row" WHERE parent_id = %d`, id)
	h.do("DELETE FROM public.parent WHERE id = %d", id)
	maps.DeleteFunc(h.draft.children, func(_ int64, c child) bool { return c.parent == id })
	delete(h.draft.parents, id)
}

// changeNodes works on a table that refers to itself, with a key of two columns.
func (h *History) changeNodes() {
	key := nodeKey{kind: string(rune('a' + h.rnd.IntN(3))), n: int32(h.rnd.IntN(8))}
	old, there := h.draft.nodes[key]
	if !there {
		fresh := node{note: fmt.Sprintf("v%d", h.rnd.IntN(1000))}
		ups := slices.SortedFunc(maps.Keys(h.draft.nodes), nodeKey.compare)
		value := "NULL, NULL"
		if len(ups) > 0 && h.rnd.IntN(2) == 0 {
			up := ups[h.rnd.IntN(len(ups))]
			fresh.up = &up
			value = fmt.Sprintf("'%s', %d", up.kind, up.n)
		}
		h.do("INSERT INTO public.node VALUES ('%s', %d, %s, '%s')", key.kind, key.n, value, fresh.note)
		h.draft.nodes[key] = fresh
		return
	}
	if h.rnd.IntN(3) > 0 {
		old.note = fmt.Sprintf("v%d", h.rnd.IntN(1000))
		h.do("UPDATE public.node SET note = '%s' WHERE kind = '%s' AND n = %d", old.note, key.kind, key.n)
		h.draft.nodes[key] = old
		return
	}
	h.do("UPDATE public.node SET up_kind = NULL, up_n = NULL WHERE up_kind = '%s' AND up_n = %d", key.kind, key.n)
	h.do("DELETE FROM public.node WHERE kind = '%s' AND n = %d", key.kind, key.n)
	delete(h.draft.nodes, key)
	for k, n := range h.draft.nodes {
		if n.up != nil && *n.up == key {
			n.up = nil
			h.draft.nodes[k] = n
		}
	}
}

func (a nodeKey) compare(b nodeKey) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.n, b.n))
}

func (h *History) changeEvents() {
	switch h.rnd.IntN(12) {
	case 0:
		h.do("TRUNCATE public.event")
		h.draft.events = map[int64]string{}
	default:
		for range 1 + h.rnd.IntN(3) {
			id, body := h.id(), h.long()
			h.do("INSERT INTO public.event VALUES (%d, '%s')", id, body)
			h.draft.events[id] = body
		}
	}
}
