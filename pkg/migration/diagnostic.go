package migration

import (
	"fmt"
	"slices"
	"strings"
)

// Place is where something stands in the file: line and column count from 1, in characters. The zero Place: nowhere.
type Place struct{ Line, Column int }

// IsZero says that the place is nowhere.
func (p Place) IsZero() bool { return p == Place{} }

// String is a value of the file with the place where it stands.
type String struct {
	Value string
	At    Place
	// verbatim says that Value stands at At character for character, so that places inside of it are known.
	verbatim bool
}

// Inside is the place of the character with that number (from 0) in the value, as far as it is known.
func (s String) Inside(char int) Place {
	if !s.verbatim {
		return s.At
	}
	return Place{Line: s.At.Line, Column: s.At.Column + char}
}

// Diagnostic is one mistake, or one warning, with its place in the file.
type Diagnostic struct {
	Path    string
	At      Place
	Source  string // the line as it stands in the file, secrets masked
	Message string // what is wrong and what to do
	Warning bool
}

// String is file:line:column: message, the line and a caret.
func (d Diagnostic) String() string {
	var b strings.Builder
	b.WriteString(d.Path)
	if !d.At.IsZero() {
		fmt.Fprintf(&b, ":%d:%d", d.At.Line, d.At.Column)
	}
	b.WriteString(": ")
	if d.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(d.Message)
	if d.Source != "" {
		fmt.Fprintf(&b, "\n  | %s\n  | %s^", d.Source, strings.Repeat(" ", max(0, d.At.Column-1)))
	}
	return b.String()
}

// Diagnostics is every mistake at once, in the order of the file.
type Diagnostics []Diagnostic

// Error is all of them, one after the other.
func (ds Diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// Err is nil where none is more than a warning, else all of them.
func (ds Diagnostics) Err() error {
	for _, d := range ds {
		if !d.Warning {
			return ds
		}
	}
	return nil
}

// Sort puts them in the order of the file.
func (ds Diagnostics) Sort() {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		if a.At.Line != b.At.Line {
			return a.At.Line - b.At.Line
		}
		return a.At.Column - b.At.Column
	})
}

// Mistake makes a diagnostic at a place of the file that the spec was read from.
func (s *Spec) Mistake(at Place, format string, args ...any) Diagnostic {
	return s.file.diagnostic(at, fmt.Sprintf(format, args...))
}

// Warning makes a diagnostic that does not stop anything.
func (s *Spec) Warning(at Place, format string, args ...any) Diagnostic {
	d := s.Mistake(at, format, args...)
	d.Warning = true
	return d
}
