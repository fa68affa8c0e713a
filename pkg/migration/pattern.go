package migration

import (
	"errors"
	"strings"

	"segue/pkg/table"
)

// Pattern is a qualified table name in which each part may hold one '*', which stands for any text. Names are meant in the
// case that the catalog has; double quotes are needed only for names that hold a dot, a star, a quote or a space.
type Pattern struct {
	At            Place
	Text          string // as it was written
	schema, table part
}

// part is one half of a Pattern: before and after the star, or the whole name in before.
type part struct {
	before, after string
	star          bool
}

// ParsePattern reads schema.table, such as public.*, public."Weird.Name" or *.customers.
func ParsePattern(s string) (Pattern, error) {
	schema, rest, err := cutPart(s)
	if err != nil {
		return Pattern{}, err
	}
	if !strings.HasPrefix(rest, ".") {
		return Pattern{}, errUnqualified
	}
	name, rest, err := cutPart(rest[1:])
	if err != nil {
		return Pattern{}, err
	}
	if rest != "" {
		return Pattern{}, errTrailing
	}
	return Pattern{Text: s, schema: schema, table: name}, nil
}

var (
	errUnqualified = errors.New("a table's name needs its schema: write schema.table, such as public.customers")
	errTrailing    = errors.New(`text after the table's name: write schema.table, and names that hold a dot in double quotes, such as public."a.b"`)
	errEmptyPart   = errors.New("a part of the name is empty: write schema.table, such as public.customers")
	errOpenQuote   = errors.New("a double quote is never closed")
	errStars       = errors.New("more than one * in one part of a name: one is understood")
	errBadName     = errors.New(`a name with a space or a quote inside must stand in double quotes, such as public."my table"`)
)

// cutPart takes one half of a name off the front of s.
func cutPart(s string) (part, string, error) {
	if strings.HasPrefix(s, `"`) {
		return cutQuoted(s[1:])
	}
	end := strings.IndexByte(s, '.')
	if end < 0 {
		end = len(s)
	}
	name, rest := s[:end], s[end:]
	switch {
	case name == "":
		return part{}, "", errEmptyPart
	case strings.ContainsAny(name, "\" \t\r\n"):
		return part{}, "", errBadName
	case strings.Count(name, "*") > 1:
		return part{}, "", errStars
	}
	before, after, star := strings.Cut(name, "*")
	return part{before: before, after: after, star: star}, rest, nil
}

func cutQuoted(s string) (part, string, error) {
	var name strings.Builder
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return part{}, "", errOpenQuote
		}
		name.WriteString(s[:i])
		if s = s[i+1:]; !strings.HasPrefix(s, `"`) {
			break
		}
		name.WriteByte('"')
		s = s[1:]
	}
	if name.Len() == 0 {
		return part{}, "", errEmptyPart
	}
	return part{before: name.String()}, s, nil
}

// IsZero says that there is no pattern.
func (p Pattern) IsZero() bool { return p.Text == "" }

// Exact returns the one table that the pattern names, false where it holds a star.
func (p Pattern) Exact() (table.Name, bool) {
	if p.schema.star || p.table.star {
		return table.Name{}, false
	}
	return table.Name{Schema: p.schema.before, Table: p.table.before}, true
}

// Match says whether the pattern stands for the table.
func (p Pattern) Match(n table.Name) bool { return p.schema.match(n.Schema) && p.table.match(n.Table) }

func (p part) match(s string) bool {
	if !p.star {
		return s == p.before
	}
	return len(s) >= len(p.before)+len(p.after) && strings.HasPrefix(s, p.before) && strings.HasSuffix(s, p.after)
}

// fill puts what from's stars matched in n where p has its own; from matches n.
func (p Pattern) fill(from Pattern, n table.Name) table.Name {
	return table.Name{Schema: p.schema.fill(from.schema, n.Schema), Table: p.table.fill(from.table, n.Table)}
}

func (p part) fill(from part, s string) string {
	if !p.star {
		return p.before
	}
	if from.star {
		s = s[len(from.before) : len(s)-len(from.after)]
	}
	return p.before + s + p.after
}
