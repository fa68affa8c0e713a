package migration

import (
	"fmt"
	"io"
)

// Secret is a string that no way of printing shows; string(s) gives it to the one who connects.
type Secret string

const masked = "[secret]"

// Format writes a mask for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, masked) }

// MarshalText writes a mask into JSON, YAML and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }
