package request

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CheckPredicate says whether a text can be a predicate over a table's own columns and nothing more, as far as its words tell: no
// statement ends in it, no parenthesis or quote reaches out of it, and nothing in it reads another table. It returns the names of the
// functions that it calls, for the server to say whether one of them does more than compute. What the words mean, the server says.
func CheckPredicate(text string) (functions []string, err error) {
	l := lexer{text: text}
	depth, words := 0, 0
	var last token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		switch {
		case t.kind == end:
			if words == 0 {
				return nil, errors.New("the predicate is empty")
			}
			if depth > 0 {
				return nil, errors.New("the predicate has a parenthesis that is never closed")
			}
			return functions, nil
		case t.kind == word && forbidden(t.text):
			return nil, fmt.Errorf("the predicate has the word %s: it may use the table's own columns, constants, operators and functions, but read nothing else", strings.ToUpper(t.text))
		case t.kind == sign && t.text == "(":
			if last.kind == name || last.kind == word && !operator(last.text) {
				functions = append(functions, last.text)
			}
			depth++
		case t.kind == sign && t.text == ")":
			if depth--; depth < 0 {
				return nil, errors.New("the predicate closes a parenthesis that it did not open")
			}
		}
		words++
		last = t
	}
}

// forbidden are the words by which an expression reads something else, or becomes another statement.
func forbidden(w string) bool {
	return slices.Contains([]string{
		"select", "table", "values", "with", "where", "union", "intersect", "except", "insert", "update", "delete", "merge", "into",
		"copy", "exists", "group", "having", "order", "limit", "offset", "fetch", "window", "over", "operator", "ctid", "returning",
	}, w)
}

// operator are words that a parenthesis may follow without being called.
func operator(w string) bool {
	return slices.Contains([]string{
		"and", "or", "not", "in", "any", "all", "some", "like", "ilike", "between", "is", "array", "row", "when", "then", "else", "case", "to", "similar",
	}, w)
}

type kind byte

const (
	end kind = iota
	word
	name // in double quotes
	constant
	sign
)

type token struct {
	kind kind
	text string
}

// lexer cuts SQL into words, as far as a predicate needs it. What it is not sure of it refuses.
type lexer struct {
	text string
	at   int
}

func (l *lexer) next() (token, error) {
	for l.at < len(l.text) && strings.IndexByte(" \t\n\r\f\v", l.text[l.at]) >= 0 {
		l.at++
	}
	rest := l.text[l.at:]
	switch {
	case rest == "":
		return token{}, nil
	case rest[0] == '\'':
		return l.quoted('\'', constant)
	case rest[0] == '"':
		return l.quoted('"', name)
	case rest[0] == ';', rest[0] == '\\', rest[0] == 0, rest[0] == '$':
		return token{}, fmt.Errorf("the predicate has the character %q outside of a quote", rest[:1])
	case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "/*"):
		return token{}, errors.New("the predicate has a comment")
	case letter(rest[0]):
		n := 1
		for n < len(rest) && (letter(rest[n]) || digit(rest[n]) || rest[n] == '$') {
			n++
		}
		l.at += n
		if n < len(rest) && rest[n] == '\'' || strings.HasPrefix(rest[n:], "&'") || strings.HasPrefix(rest[n:], `&"`) {
			// E'…', B'…', U&'…': what a backslash means there depends on the prefix. (date '2026-01-01' has a space.)
			return token{}, errors.New("the predicate has a quote with a prefix: write constants as 'text', with a space or a cast for their type")
		}
		return token{kind: word, text: strings.ToLower(rest[:n])}, nil
	case digit(rest[0]):
		n := 1
		for n < len(rest) && (digit(rest[n]) || letter(rest[n]) || rest[n] == '.') {
			n++
		}
		l.at += n
		return token{kind: constant}, nil
	}
	l.at++
	return token{kind: sign, text: rest[:1]}, nil
}

// quoted reads a text in quotes, doubled ones inside. A backslash is one character or the half of one, by a setting of the server.
func (l *lexer) quoted(quote byte, k kind) (token, error) {
	var b strings.Builder
	for i := l.at + 1; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == '\\' && quote == '\'':
			return token{}, errors.New("the predicate has a backslash in a constant: what it means depends on the server's settings")
		case c != quote:
			b.WriteByte(c)
		case i+1 < len(l.text) && l.text[i+1] == quote:
			b.WriteByte(c)
			i++
		default:
			l.at = i + 1
			return token{kind: k, text: b.String()}, nil
		}
	}
	return token{}, errors.New("the predicate has a quote that is never closed")
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
