package table

import (
	"strings"
	"testing"
)

// A topic's part is taken back to the name that it came from, or not at all.
func TestFromTopic(t *testing.T) {
	for _, n := range []Name{{"public", "a"}, {"public", "order_lines"}, {"legacy_shop", "Größe"}, {"a.b", `"x-y"`}, {"public", "a-2d"}, {"", ""}} {
		if got, ok := FromTopic(n.Topic()); !ok || got != n {
			t.Errorf("%q: %q, %v", n, got, ok)
		}
	}
	if got, ok := FromTopic(Name{"public", strings.Repeat("ü", 60)}.Topic()); ok {
		t.Errorf("a cut name was made up: %q", got)
	}
}
