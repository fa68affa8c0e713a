package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"segue/pkg/change"
	"segue/pkg/table"
)

// keysOf reads the keys of a table's rows from what somebody wrote: values with commas between, or one JSON value a key: an array in the order of
// the key's columns, or an object with their names. In a file each line is one key. An error names the place, never the key.
func keysOf(t *table.Table, text string, file bool) ([]change.Row, error) {
	var out []change.Row
	add := func(one string) error {
		one = strings.TrimSpace(one)
		if one == "" {
			return nil
		}
		key, err := keyOf(t, one)
		if err != nil {
			return fmt.Errorf("key %d: %w", len(out)+1, err)
		}
		out = append(out, key)
		return nil
	}
	first := strings.TrimSpace(text)
	switch {
	case file:
		for line := range strings.Lines(text) {
			if err := add(line); err != nil {
				return nil, err
			}
		}
	case strings.HasPrefix(first, "[") || strings.HasPrefix(first, "{"):
		d := json.NewDecoder(strings.NewReader(text))
		for {
			var one json.RawMessage
			err := d.Decode(&one)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("key %d is not JSON", len(out)+1)
			}
			if err := add(string(one)); err != nil {
				return nil, err
			}
		}
	default:
		for one := range strings.SplitSeq(text, ",") {
			if err := add(one); err != nil {
				return nil, err
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no key is given")
	}
	return out, nil
}

func keyOf(t *table.Table, text string) (change.Row, error) {
	names := make([]string, len(t.Key))
	for i, k := range t.Key {
		names[i] = t.Columns[k].Name
	}
	switch text[0] {
	case '[':
		var values []json.RawMessage
		if json.Unmarshal([]byte(text), &values) != nil {
			return nil, errors.New("it is not JSON")
		}
		if len(values) != len(names) {
			return nil, fmt.Errorf("it has %d values, the key of %s is (%s)", len(values), t.Name, strings.Join(names, ", "))
		}
		return valuesOf(names, values)
	case '{':
		var byName map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &byName) != nil {
			return nil, errors.New("it is not JSON")
		}
		values := make([]json.RawMessage, len(names))
		for i, n := range names {
			values[i] = byName[n]
		}
		if len(byName) != len(names) {
			return nil, fmt.Errorf("it has %d names, the key of %s is (%s)", len(byName), t.Name, strings.Join(names, ", "))
		}
		return valuesOf(names, values)
	}
	if len(names) != 1 {
		return nil, fmt.Errorf(`the key of %s is (%s): write each as JSON, ["a", 1] or {"%s": …}`, t.Name, strings.Join(names, ", "), names[0])
	}
	return change.Row{change.String(text)}, nil
}

func valuesOf(names []string, values []json.RawMessage) (change.Row, error) {
	out := make(change.Row, len(values))
	for i, v := range values {
		var text string
		switch {
		case len(v) == 0:
			return nil, fmt.Errorf("it has no %s", names[i])
		case v[0] == '"':
			if err := json.Unmarshal(v, &text); err != nil {
				return nil, fmt.Errorf("%s is not a text", names[i])
			}
		case v[0] == '{' || v[0] == '[' || string(v) == "null":
			return nil, fmt.Errorf("%s is neither a text nor a number nor a boolean", names[i])
		default:
			text = string(v) // a number as it was written: nothing is rounded
		}
		out[i] = change.String(text)
	}
	return out, nil
}
