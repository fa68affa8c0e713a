// Package service runs the components of a process: each is a function that blocks until its context ends or something
// goes wrong. A Group restarts what failed for a transient reason, with growing pauses and for ever, and stops everything at
// the first error of another class; what it is waiting for, since when and at which attempt is always visible. It is frame: no
// signals and no exit codes, those are main's.
package service

import (
	"context"
	"time"
)

// Run is one component. It returns nil when it is done for good or when ctx ended; a transient error (package fault)
// starts it again, so it opens by itself what it uses and closes it again.
type Run func(ctx context.Context, status *Status) error

// Phase is what a component is doing.
type Phase string

// The phases.
const (
	Starting Phase = "starting" // it runs, but is not ready for its work
	Ready    Phase = "ready"
	Standby  Phase = "standby" // another process of the service works; this one takes over when that one ends
	Waiting  Phase = "waiting" // something failed that may pass by itself; it is tried again
	Stopped  Phase = "stopped"
	Failed   Phase = "failed"
)

// State is what is known of one component at a moment.
type State struct {
	Name    string    `json:"name"`
	Phase   Phase     `json:"phase"`
	Since   time.Time `json:"since"`
	Waiting string    `json:"waiting_for,omitempty"` // what it waits for, or why it failed
	Attempt int       `json:"attempt,omitempty"`     // how often it was started again without getting ready in between
	Hint    string    `json:"hint,omitempty"`
}
