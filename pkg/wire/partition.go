package wire

import "encoding/binary"

// Partition returns the partition of a key among n: Kafka's own rule (murmur2), over the Avro body of the key without the
// framing, so that a new schema id never moves a key to another lane. Body strips the framing.
func Partition(keyBody []byte, n int32) int32 {
	return int32(murmur2(keyBody)&0x7fffffff) % n // 31 bits
}

// Body returns a framed key or value without its framing.
func Body(framed []byte) []byte {
	if len(framed) < FramingSize {
		return nil
	}
	return framed[FramingSize:]
}

// murmur2 is the hash that Kafka's own clients place keys by.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(b)) // a length
	for len(b) >= 4 {
		k := binary.LittleEndian.Uint32(b) * m
		k ^= k >> r
		h = h*m ^ k*m
		b = b[4:]
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
