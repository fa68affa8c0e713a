package dead

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"

	"segue/pkg/change"
)

// ParseKey reads one key as it is shown: the text of a key of one column, or a JSON array of the values of several. A number counts by the digits
// that it was written with. The error does not hold the key.
func ParseKey(text string) (change.Row, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case text[0] == '{':
		return nil, errors.New(`write it as a JSON array, in the order of the key's columns: ["eu", 7]`)
	case text[0] != '[':
		return change.Row{change.String(text)}, nil
	}
	var values []json.RawMessage
	if json.Unmarshal([]byte(text), &values) != nil {
		return nil, errors.New(`it begins with [ and is not JSON: write such a text as ["[…"]`)
	}
	if len(values) == 0 {
		return nil, errors.New("it has no value")
	}
	out := make(change.Row, len(values))
	for i, v := range values {
		var s string
		switch {
		case string(v) == "null":
			out[i] = change.Null()
			continue
		case v[0] == '"':
			if json.Unmarshal(v, &s) != nil {
				return nil, fmt.Errorf("value %d is no text", i+1)
			}
		case v[0] == '[' || v[0] == '{':
			return nil, fmt.Errorf("value %d is neither a text nor a number nor a boolean", i+1)
		default:
			s = string(v)
		}
		out[i] = change.String(s)
	}
	return out, nil
}

// ParseKeys reads several: JSON arrays one behind the other, else texts with commas between; in a file each line is one key.
func ParseKeys(text string, file bool) ([]change.Row, error) {
	var parts []string
	switch trimmed := strings.TrimSpace(text); {
	case file:
		for line := range strings.Lines(text) {
			parts = append(parts, line)
		}
	case strings.HasPrefix(trimmed, "["):
		d := json.NewDecoder(strings.NewReader(trimmed))
		for {
			var one json.RawMessage
			err := d.Decode(&one)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("key %d is not JSON", len(parts)+1)
			}
			parts = append(parts, string(one))
		}
	default:
		parts = strings.Split(trimmed, ",")
	}
	var out []change.Row
	for _, one := range parts {
		if strings.TrimSpace(one) == "" {
			continue
		}
		key, err := ParseKey(one)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", len(out)+1, err)
		}
		out = append(out, key)
	}
	if len(out) == 0 {
		return nil, errors.New("no key is given")
	}
	return out, nil
}

// KeyText shows a key so that ParseKey and ParseKeys read the same one, and so that no byte of it drives a terminal.
func KeyText(key change.Row) string {
	if len(key) == 1 && !key[0].IsNull() && plain(string(key[0].Bytes())) {
		return string(key[0].Bytes())
	}
	values := make([]string, len(key))
	for i, t := range key.Texts() {
		values[i] = "null"
		if t != nil {
			values[i] = quote(*t)
		}
	}
	return "[" + strings.Join(values, ",") + "]"
}

// quote is a JSON string in which all that is not printable is escaped.
func quote(s string) string {
	b, _ := json.Marshal(s) // a string always has one
	var out strings.Builder
	for _, r := range string(b) {
		switch {
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}

// plain says that a text stands for itself: in a list, on a command line and on a terminal.
func plain(s string) bool {
	if s == "" || s[0] == '[' || s[0] == '{' || s[0] == '@' || strings.TrimSpace(s) != s {
		return false
	}
	for _, r := range s {
		if r == ',' || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// same says whether two keys are the same texts.
func same(a, b change.Row) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}
