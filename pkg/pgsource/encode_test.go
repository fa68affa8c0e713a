package pgsource

import (
	"encoding/binary"
	"fmt"
	"slices"

	"pgregory.net/rapid"
)

// anyMessage draws every kind of pgoutput message that version 1 has.
func anyMessage() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		kind := rapid.SampledFrom([]byte("BCORYIUDTM")).Draw(t, "kind")
		b := []byte{kind}
		switch kind {
		case 'B':
			return u32(t, timeOf(t, u64(t, b)))
		case 'C':
			return timeOf(t, u64(t, u64(t, append(b, 0))))
		case 'O':
			return name(t, u64(t, b))
		case 'R':
			return relationOf(t, b)
		case 'Y':
			return name(t, name(t, u32(t, b)))
		case 'I':
			return tupleOf(t, append(u32(t, b), 'N'))
		case 'U':
			b = u32(t, b)
			if old := rapid.SampledFrom([]byte{'K', 'O', 0}).Draw(t, "old"); old != 0 {
				b = tupleOf(t, append(b, old))
			}
			return tupleOf(t, append(b, 'N'))
		case 'D':
			return tupleOf(t, append(u32(t, b), rapid.SampledFrom([]byte{'K', 'O'}).Draw(t, "old")))
		case 'T':
			return truncateOf(t, b)
		}
		b = name(t, u64(t, append(b, byte(rapid.IntRange(0, 1).Draw(t, "flags")))))
		return bytesOf(t, b)
	})
}

func relationOf(t *rapid.T, b []byte) []byte {
	b = name(t, name(t, u32(t, b)))
	b = append(b, rapid.SampledFrom([]byte("dnfi")).Draw(t, "identity"))
	n := rapid.IntRange(0, 6).Draw(t, "columns")
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	for range n {
		b = append(b, byte(rapid.IntRange(0, 1).Draw(t, "key")))
		b = u32(t, u32(t, name(t, b)))
	}
	return b
}

func truncateOf(t *rapid.T, b []byte) []byte {
	n := rapid.IntRange(1, 5).Draw(t, "tables")
	b = append(binary.BigEndian.AppendUint32(b, uint32(n)), byte(rapid.IntRange(0, 3).Draw(t, "flags")))
	for range n {
		b = u32(t, b)
	}
	return b
}

func tupleOf(t *rapid.T, b []byte) []byte {
	n := rapid.IntRange(1, 200).Draw(t, "columns") // pglogrepl refuses a row without columns, which a table may have
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	for range n {
		kind := rapid.SampledFrom([]byte("tnu")).Draw(t, "kind")
		b = append(b, kind)
		if kind == 't' {
			b = bytesOf(t, b)
		}
	}
	return b
}

func bytesOf(t *rapid.T, b []byte) []byte {
	data := rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, "bytes")
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}

func name(t *rapid.T, b []byte) []byte {
	return append(append(b, rapid.StringMatching(`[a-zA-Z_ "é]{0,9}`).Draw(t, "name")...), 0)
}

func u32(t *rapid.T, b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, rapid.Uint32().Draw(t, "u32"))
}

func u64(t *rapid.T, b []byte) []byte {
	return binary.BigEndian.AppendUint64(b, rapid.Uint64().Draw(t, "u64"))
}

// timeOf stays within the years that Go's own time can hold in pglogrepl's way of counting.
func timeOf(t *rapid.T, b []byte) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(rapid.Int64Range(-1<<52, 1<<52).Draw(t, "time")))
}

// benchMessage is an insert of eight columns with 160 bytes of text.
func benchMessage() []byte {
	b := []byte{'I', 0, 0, 0, 42, 'N', 0, 8}
	for i := range 8 {
		text := fmt.Sprintf("%020d", i)
		b = slices.Concat(b, []byte{'t', 0, 0, 0, byte(len(text))}, []byte(text))
	}
	return b
}
