package migration

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// interpolate replaces ${NAME} by a variable and ${file:path} by a file's text without its last line break (a path that is
// not absolute counts from the folder of the file that names it); $${ stands for ${. It returns what went wrong, with
// the number of the character where.
func (in Input) interpolate(s string) (string, []slip) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	var out strings.Builder
	var slips []slip
	for rest := s; ; {
		i := strings.Index(rest, "${")
		if i < 0 {
			out.WriteString(rest)
			return out.String(), slips
		}
		if i > 0 && rest[i-1] == '$' {
			out.WriteString(rest[:i-1] + "${")
			rest = rest[i+2:]
			continue
		}
		out.WriteString(rest[:i])
		at := len([]rune(s[:len(s)-len(rest)+i]))
		end := strings.IndexByte(rest[i:], '}')
		if end < 0 {
			return out.String(), append(slips, slip{at, "${ is never closed: write ${NAME}, or $${ for the two characters themselves"})
		}
		text, err := in.lookup(rest[i+2 : i+end])
		if err != nil {
			slips = append(slips, slip{at, err.Error()})
		}
		out.WriteString(text)
		rest = rest[i+end+1:]
	}
}

// slip is a mistake inside a string.
type slip struct {
	char    int
	message string
}

func (in Input) lookup(what string) (string, error) {
	if path, ok := strings.CutPrefix(what, "file:"); ok {
		return in.readFile(path)
	}
	if !isVariable(what) {
		return "", errors.New("${…} holds no variable's name: write ${NAME} or ${file:path}, or $${ for the two characters themselves")
	}
	if in.Getenv != nil {
		if v, ok := in.Getenv(what); ok {
			return v, nil
		}
	}
	return "", fmt.Errorf("the variable %s is not set: export it, or write the value here", what)
}

func (in Input) readFile(path string) (string, error) {
	if path == "" || in.ReadFile == nil {
		return "", fmt.Errorf("${file:%s} names no file that can be read", path)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(in.Path), path)
	}
	text, err := in.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the file that is named here: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
