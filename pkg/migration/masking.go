package migration

import (
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// maskSecrets blots out, in the lines that messages show, everything that may be part of a connection string: each value
// below source and target, and each text that looks like one wherever it slipped to.
func (f *file) maskSecrets(root *yaml.Node) {
	m := masking{secret: map[*yaml.Node]bool{}}
	m.walk(root, false)
	for i, n := range m.nodes {
		if !m.secret[n] || isReference(n.Value) {
			continue
		}
		var until Place
		if i+1 < len(m.nodes) {
			until = placeOf(m.nodes[i+1])
		}
		f.mask(placeOf(n), until)
	}
}

// masking lists all scalars in the order of the file.
type masking struct {
	nodes  []*yaml.Node
	secret map[*yaml.Node]bool
}

func (m *masking) walk(n *yaml.Node, secret bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			m.walk(key, false)
			m.walk(value, secret || key.Value == "source" || key.Value == "target" || key.Value == "postgres")
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			m.walk(c, secret)
		}
	case yaml.ScalarNode:
		m.nodes = append(m.nodes, n)
		m.mark(n, secret || suspect.MatchString(n.Value))
	case yaml.AliasNode:
		m.mark(n.Alias, secret) // what is named here stands elsewhere
	case yaml.DocumentNode:
	}
}

func (m *masking) mark(n *yaml.Node, secret bool) {
	if secret {
		m.secret[n] = true
	}
}

var (
	reference = regexp.MustCompile(`\$\{[^}]*\}`)
	suspect   = regexp.MustCompile(`(?i)://|password=`)
)

// isReference says that the text only names where the secret is.
func isReference(s string) bool {
	return strings.Contains(s, "${") && strings.TrimSpace(reference.ReplaceAllString(s, "")) == ""
}

// maskSuspects does what it can for a text that is no YAML: a line that may hold a secret is not shown from there on.
func (f *file) maskSuspects() {
	for i, line := range f.lines {
		if at := suspect.FindStringIndex(line); at != nil {
			f.lines[i] = line[:at[1]] + strings.Repeat("*", len([]rune(line[at[1]:])))
		}
	}
}
