package migration

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that no way of printing shows; string(s) gives it to the one who connects.
type Secret string

const masked = "[secret]"

// Format writes a mask for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, masked) }

// MarshalText writes a mask into JSON, YAML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue writes a mask into logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }
