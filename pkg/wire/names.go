package wire

import (
	"strings"

	"segue/pkg/table"
)

// avroName writes any name with what Avro allows in one: letters, digits and underscores, no digit first. Every other byte
// becomes _xHH in hexadecimal, and so does an underscore that stands before an x; thus no two names become one.
func avroName(s string) string {
	if s == "" {
		return "_x"
	}
	const hexDigits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if plain(c, i == 0) && (c != '_' || i+1 == len(s) || s[i+1] != 'x') {
			b.WriteByte(c)
			continue
		}
		b.WriteString("_x")
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

func plain(c byte, first bool) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		return true
	case c >= '0' && c <= '9':
		return !first
	}
	return false
}

// namespace is the namespace of a table's records: <migration>.<schema>.<table>.
func namespace(migration string, n table.Name) string {
	return avroName(migration) + "." + avroName(n.Schema) + "." + avroName(n.Table)
}
