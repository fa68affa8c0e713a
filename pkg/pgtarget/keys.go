package pgtarget

import (
	"hash/maphash"

	"segue/pkg/change"
)

// keyIndex finds the entry of a key. It is a hash table over numbers of entries: unlike a map with string keys it
// copies no key, and its memory is used again for the next batch.
type keyIndex struct {
	seed   maphash.Seed
	slots  []int32 // number of the entry + 1; 0: free
	hashes []uint64
	used   int
}

const firstSlots = 1 << 6

func newKeyIndex() *keyIndex {
	return &keyIndex{seed: maphash.MakeSeed(), slots: make([]int32, firstSlots), hashes: make([]uint64, firstSlots)}
}

// reset empties the index. It shrinks behind a large batch: clearing it for each small one would cost more than the work.
func (x *keyIndex) reset() {
	clear(x.slots)
	n := len(x.slots)
	for n > firstSlots && n > 8*x.used {
		n /= 2
	}
	x.slots, x.hashes, x.used = x.slots[:n], x.hashes[:n], 0
}

func (x *keyIndex) hash(key change.Row) uint64 {
	h := uint64(14695981039346656037)
	for _, v := range key {
		h = (h ^ uint64(v.Kind())) * 1099511628211
		h = (h ^ maphash.Bytes(x.seed, v.Bytes())) * 1099511628211
	}
	return h ^ h>>29
}

// find returns the entry for which same holds among those with the hash, and the slot that is its place or would be.
func (x *keyIndex) find(hash uint64, same func(entry int32) bool) (entry int32, slot int) {
	mask := len(x.slots) - 1
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		switch {
		case x.slots[i] == 0:
			return -1, i
		case x.hashes[i] == hash && same(x.slots[i]-1):
			return x.slots[i] - 1, i
		}
	}
}

// put takes the free slot that find returned.
func (x *keyIndex) put(hash uint64, slot int, entry int32) {
	x.slots[slot], x.hashes[slot] = entry+1, hash
	if x.used++; x.used*2 > len(x.slots) {
		x.grow()
	}
}

func (x *keyIndex) grow() {
	slots, hashes := x.slots, x.hashes
	x.slots, x.hashes = make([]int32, 2*len(slots)), make([]uint64, 2*len(slots))
	for i, s := range slots {
		if s != 0 {
			_, free := x.find(hashes[i], func(int32) bool { return false })
			x.slots[free], x.hashes[free] = s, hashes[i]
		}
	}
}
