package chunk

import (
	"fmt"
	"strings"
)

// Kinds of marks.
const (
	MarkBeat = "beat" // the reader's heartbeat: a true position in an idle log
	MarkLow  = "low"  // a low watermark
	MarkHigh = "high" // a high watermark
)

// ReaderWriter begins the writer's name in the reader's own marks. What another writer (the reconciler) puts into the log under the
// migration's prefix becomes a frontier.Mark of the frontier that the reader then makes at its commit: kind "low" for a low
// one, "snapshot" for a high one.
const ReaderWriter = "reader"

// Mark is the content of a transactional logical message under a migration's prefix (migration.Spec.MarkPrefix): one
// message in a transaction of its own. Its text form is "1 kind id writer".
type Mark struct {
	Kind   string // MarkBeat, MarkLow or MarkHigh
	ID     string // unique over all writers and their lives: the two marks of a pair have different ones
	Writer string // "reader:<incarnation>", "reconciler:<life>"
}

// String is the content of the message.
func (m Mark) String() string { return "1 " + m.Kind + " " + m.ID + " " + m.Writer }

// Own says whether the mark is a reader's, of whatever incarnation.
func (m Mark) Own() bool {
	name, _, _ := strings.Cut(m.Writer, ":")
	return name == ReaderWriter
}

// ParseMark reads what String writes.
func ParseMark(content []byte) (Mark, error) {
	f := strings.Split(string(content), " ")
	if len(f) != 4 || f[0] != "1" || f[2] == "" || f[3] == "" {
		return Mark{}, fmt.Errorf("mark of %d bytes: want \"1 kind id writer\"", len(content))
	}
	switch f[1] {
	case MarkBeat, MarkLow, MarkHigh:
		return Mark{Kind: f[1], ID: f[2], Writer: f[3]}, nil
	}
	return Mark{}, fmt.Errorf("mark of an unknown kind")
}
