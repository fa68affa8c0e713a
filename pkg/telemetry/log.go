// Package telemetry is how a process shows itself: a logger, the HTTP pages /livez, /readyz and /metrics, and what was
// built. Nothing here knows a row (promise P10): positions, table names and counts are all that is ever shown. It is frame.
package telemetry

import (
	"io"
	"log/slog"
)

// NewLogger makes a logger that writes text for people or JSON for machines.
func NewLogger(format string, level slog.Level, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
