package reconcile

import "iter"

// Bits is a fixed-size set of bucket numbers.
type Bits []uint64

// NewBits makes an empty set of numbers below n.
func NewBits(n int) Bits { return make(Bits, (n+63)/64) }

// Set adds i.
func (b Bits) Set(i int) { b[i/64] |= 1 << (i % 64) }

// Clear removes i.
func (b Bits) Clear(i int) { b[i/64] &^= 1 << (i % 64) }

// Has says whether i is in the set.
func (b Bits) Has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// Empty says that nothing is in the set.
func (b Bits) Empty() bool {
	for _, word := range b {
		if word != 0 {
			return false
		}
	}
	return true
}

// All yields the numbers in the set, ascending.
func (b Bits) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range len(b) * 64 {
			if b.Has(i) && !yield(i) {
				return
			}
		}
	}
}
