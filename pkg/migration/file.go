package migration

import (
	"strings"
)

// file is the text that a spec was read from, by lines, for showing.
type file struct {
	path  string
	lines []string
}

func newFile(path string, text []byte) *file {
	lines := strings.Split(string(text), "\n")
	for i := range lines {
		lines[i] = strings.ReplaceAll(strings.TrimSuffix(lines[i], "\r"), "\t", " ")
	}
	return &file{path: path, lines: lines}
}

func (f *file) line(n int) string {
	if n < 1 || n > len(f.lines) {
		return ""
	}
	return f.lines[n-1]
}

// from returns the line's text from a column on.
func (f *file) from(at Place) string {
	runes := []rune(f.line(at.Line))
	if at.Column < 1 || at.Column > len(runes) {
		return ""
	}
	return string(runes[at.Column-1:])
}

// mask blots out what stands from a place on, to the place until (the end of the file where it is zero), character for
// character so that carets still point right.
func (f *file) mask(from, until Place) {
	for n := from.Line; n <= len(f.lines); n++ {
		runes := []rune(f.lines[n-1])
		begin, end := 0, len(runes)
		if n == from.Line {
			begin = from.Column - 1
		}
		if n == until.Line {
			end = min(end, until.Column-1)
		}
		for i := begin; i < end; i++ {
			if runes[i] != ' ' {
				runes[i] = '*'
			}
		}
		f.lines[n-1] = string(runes)
		if n == until.Line {
			return
		}
	}
}

func (f *file) diagnostic(at Place, message string) Diagnostic {
	if f == nil {
		return Diagnostic{Path: "segue.yaml", Message: message}
	}
	return Diagnostic{Path: f.path, At: at, Source: f.line(at.Line), Message: message}
}
