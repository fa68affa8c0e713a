package mapping

import (
	"strings"
	"unicode/utf8"
)

// function is one function that expressions may call. Each gives the same result for the same arguments, always.
type function struct {
	name string
	// forms are nil pointers to the Go functions whose types the engine checks calls against.
	forms []any
	// call gets no nil arguments: a function of null is null.
	call func(args []any) (any, error)
}

const errArguments = reason("a function got a value of a type that it does not take")

// functions lists all of them; the engine's own that are not here are switched off.
func functions() []function {
	return append(textFunctions(), numberFunctions()...)
}

func textFunctions() []function {
	one := []any{new(func(string) string)}
	two := []any{new(func(string, string) string)}
	test := []any{new(func(string, string) bool)}
	count := []any{new(func(string, int) string)}
	return []function{
		{name: "lower", forms: one, call: text1(strings.ToLower)},
		{name: "upper", forms: one, call: text1(strings.ToUpper)},
		{name: "trim", forms: append(one, two...), call: trim},
		{name: "trimPrefix", forms: two, call: text2(strings.TrimPrefix)},
		{name: "trimSuffix", forms: two, call: text2(strings.TrimSuffix)},
		{name: "squeeze", forms: one, call: text1(func(s string) string { return strings.Join(strings.Fields(s), " ") })},
		{name: "digits", forms: one, call: text1(digits)},
		{name: "firstWord", forms: one, call: text1(firstWord)},
		{name: "lastWord", forms: one, call: text1(lastWord)},
		{name: "restWords", forms: one, call: text1(restWords)},
		{name: "words", forms: []any{new(func(string) []string)}, call: text1(strings.Fields)},
		{name: "split", forms: []any{new(func(string, string) []string)}, call: text2(strings.Split)},
		{name: "replace", forms: []any{new(func(string, string, string) string)}, call: replace},
		{name: "left", forms: count, call: left},
		{name: "right", forms: count, call: right},
		{name: "hasPrefix", forms: test, call: text2(strings.HasPrefix)},
		{name: "hasSuffix", forms: test, call: text2(strings.HasSuffix)},
		{name: "nullIf", forms: two, call: nullIf},
		{name: "nullIfEmpty", forms: one, call: func(args []any) (any, error) { return nullIf([]any{args[0], ""}) }},
		{name: "first", forms: []any{new(func([]string) string)}, call: pickWord(func(int) int { return 0 })},
		{name: "last", forms: []any{new(func([]string) string)}, call: pickWord(func(n int) int { return n - 1 })},
		{name: "join", forms: []any{new(func([]string, string) string), new(func([]any, string) string)}, call: join},
		{name: "len", forms: []any{new(func(string) int), new(func([]string) int), new(func([]any) int)}, call: length},
	}
}

func text1[T any](f func(string) T) func([]any) (any, error) {
	return func(args []any) (any, error) {
		s, ok := args[0].(string)
		if !ok {
			return nil, errArguments
		}
		return f(s), nil
	}
}

func text2[T any](f func(a, b string) T) func([]any) (any, error) {
	return func(args []any) (any, error) {
		a, ok1 := args[0].(string)
		b, ok2 := args[1].(string)
		if !ok1 || !ok2 {
			return nil, errArguments
		}
		return f(a, b), nil
	}
}

func trim(args []any) (any, error) {
	if len(args) == 1 {
		return text1(strings.TrimSpace)(args)
	}
	return text2(strings.Trim)(args)
}

func digits(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func firstWord(s string) string {
	if w := strings.Fields(s); len(w) > 0 {
		return w[0]
	}
	return ""
}

func lastWord(s string) string {
	if w := strings.Fields(s); len(w) > 0 {
		return w[len(w)-1]
	}
	return ""
}

// restWords is what follows the first word, single spaces in between.
func restWords(s string) string {
	if w := strings.Fields(s); len(w) > 1 {
		return strings.Join(w[1:], " ")
	}
	return ""
}

func replace(args []any) (any, error) {
	s, ok1 := args[0].(string)
	old, ok2 := args[1].(string)
	by, ok3 := args[2].(string)
	if !ok1 || !ok2 || !ok3 {
		return nil, errArguments
	}
	return strings.ReplaceAll(s, old, by), nil
}

// left is the first n characters.
func left(args []any) (any, error) {
	s, ok1 := args[0].(string)
	n, ok2 := args[1].(int)
	if !ok1 || !ok2 {
		return nil, errArguments
	}
	for i := range s {
		if n <= 0 {
			return s[:i], nil
		}
		n--
	}
	return s, nil
}

// right is the last n characters.
func right(args []any) (any, error) {
	s, ok1 := args[0].(string)
	n, ok2 := args[1].(int)
	if !ok1 || !ok2 {
		return nil, errArguments
	}
	skip := utf8.RuneCountInString(s) - max(n, 0)
	for i := range s {
		if skip <= 0 {
			return s[i:], nil
		}
		skip--
	}
	if n <= 0 {
		return "", nil
	}
	return s, nil
}

// nullIf is null where both texts are equal, else the first.
func nullIf(args []any) (any, error) {
	if args[0] == args[1] {
		return nil, nil //nolint:nilnil // nil is the value: null
	}
	return args[0], nil
}

// pickWord takes one item of a list, null where it is empty.
func pickWord(at func(n int) int) func([]any) (any, error) {
	return func(args []any) (any, error) {
		switch l := args[0].(type) {
		case []string:
			if len(l) > 0 {
				return l[at(len(l))], nil
			}
			return nil, nil //nolint:nilnil // nil is the value: null
		case []any:
			if len(l) > 0 {
				return l[at(len(l))], nil
			}
			return nil, nil //nolint:nilnil // nil is the value: null
		}
		return nil, errArguments
	}
}

// join leaves nulls out.
func join(args []any) (any, error) {
	by, ok := args[1].(string)
	if !ok {
		return nil, errArguments
	}
	switch l := args[0].(type) {
	case []string:
		return strings.Join(l, by), nil
	case []any:
		var words []string
		for _, v := range l {
			switch s := v.(type) {
			case nil:
			case string:
				words = append(words, s)
			default:
				return nil, errArguments
			}
		}
		return strings.Join(words, by), nil
	}
	return nil, errArguments
}

func length(args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return utf8.RuneCountInString(v), nil
	case []string:
		return len(v), nil
	case []any:
		return len(v), nil
	}
	return nil, errArguments
}
