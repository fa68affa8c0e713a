package historytest

import (
	"fmt"
	"slices"
)

// changeLots works on the table without key: few values, so that many rows are equal, and statements that take one of them or all.
func (h *History) changeLots() {
	n := len(h.draft.lots)
	switch act := h.rnd.IntN(12); {
	case act < 5 || n == 0:
		l := lot{a: fmt.Sprint(h.rnd.IntN(3)), b: h.either("x", "y"), j: h.either(`{"k":1}`, `{"k": 1}`)}
		if h.rnd.IntN(8) == 0 {
			l.big = h.long()
		}
		times := 1 + h.rnd.IntN(3)
		h.do("INSERT INTO public.lot SELECT %s, '%s', '%s', '%s' FROM generate_series(1, %d)", l.a, l.b, l.j, l.big, times)
		h.draft.lots = append(h.draft.lots, slices.Repeat([]lot{l}, times)...)
	case act < 8:
		at := h.rnd.IntN(n)
		to := h.draft.lots[at]
		to.a = fmt.Sprint(h.rnd.IntN(3))
		h.do("UPDATE public.lot SET a = %s WHERE %s", to.a, one(h.draft.lots[at]))
		h.draft.lots[at] = to
	case act < 9:
		b := h.either("x", "y")
		h.do("UPDATE public.lot SET b = '%s' WHERE a = 1", b)
		for i, l := range h.draft.lots {
			if l.a == "1" {
				h.draft.lots[i].b = b
			}
		}
	case act < 11:
		at := h.rnd.IntN(n)
		h.do("DELETE FROM public.lot WHERE %s", one(h.draft.lots[at]))
		h.draft.lots = slices.Delete(h.draft.lots, at, at+1)
	case h.rnd.IntN(4) == 0:
		h.do("TRUNCATE public.lot")
		h.draft.lots = nil
	}
}

// one is the condition for one of the rows that are equal to this one.
func one(l lot) string {
	return fmt.Sprintf("ctid = (SELECT ctid FROM public.lot WHERE a = %s AND b = '%s' AND j::text = '%s' AND big = '%s' LIMIT 1)", l.a, l.b, l.j, l.big)
}

func (h *History) either(a, b string) string {
	if h.rnd.IntN(2) == 0 {
		return a
	}
	return b
}
