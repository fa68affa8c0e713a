package chunk

import "testing"

// FuzzSnapshot: a text that is taken for a snapshot is written back as it was, up to the order and form of its numbers, and its rule holds: nothing from
// xmax on is seen, everything below xmin is.
func FuzzSnapshot(f *testing.F) {
	for _, s := range []string{"1:1:", "10:20:10,14,15", "795:799:795,797", "4294967290:4294967310:4294967295", "5:4:", "a:b:", "1:2:3", "::"} {
		f.Add(s, uint64(12))
	}
	f.Fuzz(func(t *testing.T, text string, xid uint64) {
		s, err := ParseSnapshot(text)
		if err != nil {
			return
		}
		again, err := ParseSnapshot(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q became %q, %v", text, again.String(), err)
		}
		// The stream's ids have 32 bits: they are told apart within half of that around the snapshot.
		if near := int64(xid-s.Xmax) < 1<<31 && int64(xid-s.Xmax) > -1<<31; !near {
			return
		}
		switch sees := s.Sees(uint32(xid)); {
		case xid >= s.Xmax && sees:
			t.Errorf("%s sees %d, which had not begun", s, xid)
		case xid < s.Xmin && !sees:
			t.Errorf("%s does not see %d, which had ended", s, xid)
		}
	})
}

// FuzzMark: what is taken for a mark is written as it was read.
func FuzzMark(f *testing.F) {
	for _, m := range []Mark{{Kind: MarkLow, ID: "7-1-low", Writer: "reader:7"}, {Kind: MarkHigh, ID: "x", Writer: "reconciler:1"}, {Kind: MarkBeat}} {
		f.Add([]byte(m.String()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMark(b)
		if err != nil {
			return
		}
		again, err := ParseMark([]byte(m.String()))
		if err != nil || again != m {
			t.Errorf("%q: %+v became %+v, %v", b, m, again, err)
		}
	})
}
