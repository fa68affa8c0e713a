package table

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Name is a table's qualified name, unquoted, in the case that the catalog has it.
type Name struct{ Schema, Table string }

// String is the name for people: schema.table, quoted only where SQL would want quotes.
func (n Name) String() string { return identifier(n.Schema) + "." + identifier(n.Table) }

// SQL is the name for a statement: always quoted.
func (n Name) SQL() string { return Quote(n.Schema) + "." + Quote(n.Table) }

// Quote returns the identifier in double quotes, safe to put into a statement.
func Quote(identifier string) string {
	return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"`
}

func identifier(s string) string {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return Quote(s)
		}
	}
	return s
}

// maxTopicPart bounds each half of a topic suffix, so that a whole topic name stays below Kafka's 249 characters.
const maxTopicPart = 90

// Topic is the part of a topic's name that stands for the table. It is injective, holds only what Kafka allows, and
// stays unique where Kafka takes '.' and '_' for the same (it refuses topics that differ in nothing else): bytes
// other than letters, digits and underscores are written -XX in hexadecimal, in the schema underscores too. A part
// that grows too long ends in a hash of the whole.
func (n Name) Topic() string { return topicPart(n.Schema, false) + "." + topicPart(n.Table, true) }

// FromTopic takes the name back from Topic; false where it is cut, and cannot be known.
func FromTopic(topic string) (Name, bool) {
	schema, name, _ := strings.Cut(topic, ".")
	n := Name{Schema: topicText(schema), Table: topicText(name)}
	return n, n.Topic() == topic
}

func topicText(part string) string {
	var b strings.Builder
	for i := 0; i < len(part); i++ {
		if c, err := hex.DecodeString(part[min(i+1, len(part)):min(i+3, len(part))]); part[i] == '-' && err == nil && len(c) == 1 {
			b.Write(c)
			i += 2
			continue
		}
		b.WriteByte(part[i])
	}
	return b.String()
}

func topicPart(s string, underscore bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_' && underscore:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "-%02x", c)
		}
	}
	out := b.String()
	if len(out) <= maxTopicPart {
		return out
	}
	sum := sha256.Sum256([]byte(s))
	// "-h" never starts an escape, so a cut name cannot equal a whole one.
	return out[:maxTopicPart-34] + "-h" + hex.EncodeToString(sum[:16])
}
