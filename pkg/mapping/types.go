package mapping

import (
	"strconv"
	"strings"

	"segue/pkg/table"
)

// The base types that are treated by name.
const (
	boolean = "boolean"
	integer = "integer"
)

func isText(c *table.Column) bool {
	switch c.Base {
	case "text", "character varying", "character", "bpchar", "name":
		return true
	}
	return false
}

// widening lists the types that each type fits into whatever the value.
func widening() map[string][]string {
	return map[string][]string{
		"smallint": {integer, "bigint", "numeric", "double precision", "real", "oid"},
		integer:    {"bigint", "numeric", "double precision"},
		"bigint":   {"numeric"},
		"real":     {"double precision"},
		"date":     {"timestamp without time zone"},
		"json":     {"jsonb"},
		"jsonb":    {"json"},
		"cidr":     {"inet"},
	}
}

// doubtOf says why the text of one column may not be taken by another, empty where it always is.
func doubtOf(from, to *table.Column) string {
	switch {
	case from.Type == to.Type:
		return ""
	case isText(to):
		return lengthDoubt(from, to)
	case from.Base == to.Base:
		if limit(to) == "" || numericFits(from, to) {
			return ""
		}
		return "a value that does not fit the type's modifier is refused or rounded"
	}
	if limit(to) == "" {
		for _, wide := range widening()[from.Base] {
			if wide == to.Base {
				return ""
			}
		}
	}
	return "PostgreSQL reads the text of the one as the other, and refuses what it cannot read; an expression can mend values"
}

func lengthDoubt(from, to *table.Column) string {
	most, bounded := lengthOf(to)
	if !bounded {
		return ""
	}
	if least, ok := lengthOf(from); ok && isText(from) && least <= most {
		return ""
	}
	return "longer texts are refused; left(column, " + strconv.Itoa(most) + ") cuts them"
}

// numericFits says that one numeric(p,s) takes every value of another; a larger scale only adds zeros.
func numericFits(from, to *table.Column) bool {
	if from.Base != "numeric" {
		return false
	}
	p1, s1, ok1 := precision(from)
	p2, s2, ok2 := precision(to)
	return ok1 && ok2 && s1 <= s2 && p1-s1 <= p2-s2
}

func precision(c *table.Column) (digits, scale int, ok bool) {
	p, s, both := strings.Cut(strings.TrimSuffix(limit(c), ")"), ",")
	digits, err1 := strconv.Atoi(p)
	scale, err2 := strconv.Atoi(s)
	return digits, scale, both && err1 == nil && err2 == nil
}

// limit is a type's modifier, such as "(20)".
func limit(c *table.Column) string {
	_, mod, ok := strings.Cut(c.Type, "(")
	if !ok {
		return ""
	}
	return mod
}

func lengthOf(c *table.Column) (int, bool) {
	mod := limit(c)
	n, err := strconv.Atoi(strings.TrimSuffix(mod, ")"))
	return n, mod != "" && err == nil
}
