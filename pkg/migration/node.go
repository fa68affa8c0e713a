package migration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// field is one key that an object may have.
type field struct {
	key      string
	required bool
	read     func(*yaml.Node)
}

// object reads a mapping with fixed keys. It reports unknown, doubled and missing ones.
func (p *parser) object(n *yaml.Node, what string, fields []field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	seen := map[string]bool{}
	ok := p.entries(n, what, func(key, value *yaml.Node) {
		seen[key.Value] = true
		i := slices.Index(names, key.Value)
		if i < 0 {
			p.mistake(placeOf(key), "%s: known here: %s%s", unknownKey(key.Value, what), strings.Join(names, ", "), DidYouMean(key.Value, names))
			return
		}
		fields[i].read(value)
	})
	for _, f := range fields {
		if ok && f.required && !seen[f.key] {
			p.mistake(placeOf(n), "%s has no %s: add it", what, f.key)
		}
	}
}

var plainKey = regexp.MustCompile(`^[\w.-]{1,40}$`)

// unknownKey shows the key only where it cannot be a slipped connection string.
func unknownKey(key, what string) string {
	if plainKey.MatchString(key) {
		return fmt.Sprintf("%s does not know the key %s", what, key)
	}
	return what + " does not know this key"
}

// entries walks a mapping, reporting doubled keys.
func (p *parser) entries(n *yaml.Node, what string, each func(key, value *yaml.Node)) bool {
	v := resolve(n)
	if v.Kind != yaml.MappingNode {
		p.mistake(placeOf(n), "%s must be a mapping (key: value), but it is %s", what, kindOf(v))
		return false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(v.Content); i += 2 {
		key, value := resolve(v.Content[i]), v.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			p.mistake(placeOf(key), "%s: a key must be plain text, but it is %s", what, kindOf(key))
		case seen[key.Value]:
			p.mistake(placeOf(key), "%s has this key twice: remove one", what)
		default:
			seen[key.Value] = true
			each(key, value)
		}
	}
	return true
}

// list walks a sequence.
func (p *parser) list(n *yaml.Node, what string, each func(*yaml.Node)) {
	v := resolve(n)
	if v.Kind != yaml.SequenceNode {
		p.mistake(placeOf(n), "%s must be a list (- item), but it is %s", what, kindOf(v))
		return
	}
	for _, item := range v.Content {
		each(item)
	}
}

// text reads a string and fills in what it names by ${…}.
func (p *parser) text(n *yaml.Node, what string) (String, bool) {
	v := resolve(n)
	if v.Kind != yaml.ScalarNode || !isText(v) {
		p.mistake(placeOf(n), "%s must be text, but it is %s: put it in quotes if text is meant", what, kindOf(v))
		return String{}, false
	}
	s := String{At: placeOf(v)}
	if inside := (Place{Line: v.Line, Column: v.Column + quotes(v)}); strings.HasPrefix(p.spec.file.from(inside), v.Value) {
		s.At, s.verbatim = inside, true
	}
	text, slips := p.in.interpolate(v.Value)
	for _, slip := range slips {
		p.mistake(s.Inside(slip.char), "%s: %s", what, slip.message)
	}
	s.verbatim = s.verbatim && text == v.Value
	s.Value = text
	return s, len(slips) == 0
}

func quotes(n *yaml.Node) int {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return 1
	}
	return 0
}

// isText says whether a scalar is a string; a date without quotes is one, too.
func isText(n *yaml.Node) bool { return n.ShortTag() == "!!str" || n.ShortTag() == "!!timestamp" }

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func placeOf(n *yaml.Node) Place { return Place{Line: n.Line, Column: n.Column} }

func kindOf(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return "a mapping"
	}
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return "text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "empty"
	}
	return "something with a tag"
}
