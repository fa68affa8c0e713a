package stacktest

import (
	"context"
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// Several processes of one service run under names such as "applier" and "applier#2".

// Freeze stops a process where it is (SIGSTOP): it keeps its connections and answers nobody.
func (s *Stack) Freeze(tb testing.TB, name string) { tb.Helper(); s.signal(tb, name, syscall.SIGSTOP) }

// Thaw lets a frozen process go on, as if no time had passed for it.
func (s *Stack) Thaw(tb testing.TB, name string) { tb.Helper(); s.signal(tb, name, syscall.SIGCONT) }

func (s *Stack) signal(tb testing.TB, name string, signal syscall.Signal) {
	tb.Helper()
	svc, err := s.service(name)
	if err != nil {
		tb.Fatal(err)
	}
	if svc.process == nil || !svc.process.running() {
		tb.Fatalf("%s: %s does not run", signal, name)
	}
	if err := svc.process.cmd.Process.Signal(signal); err != nil {
		tb.Fatal(err)
	}
}

// Execute runs statements on the source.
func (s *Stack) Execute(ctx context.Context, statements ...string) error {
	return execute(ctx, s.Legacy, statements...)
}

// State is what a process says of the service that it runs.
type State struct {
	Phase   string `json:"phase"`
	Waiting string `json:"waiting_for"`
}

// State asks a process how its service is; the zero State where it does not answer.
func (s *Stack) State(ctx context.Context, name string) (State, error) {
	svc, err := s.service(name)
	if err != nil {
		return State{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, text, err := get(ctx, "http://"+svc.address+"/readyz")
	if err != nil {
		return State{}, nil //nolint:nilerr // it does not answer yet, or is frozen
	}
	var report struct {
		Components []struct {
			Name string `json:"name"`
			State
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		return State{}, fmt.Errorf("%s answers %q: %w", name, text, err)
	}
	for _, c := range report.Components {
		if c.Name == kind(name) {
			return c.State, nil
		}
	}
	return State{}, nil
}

// Becomes waits until a process's service is in the phase, and says how it is. Others may start and end meanwhile.
func (s *Stack) Becomes(tb testing.TB, name, phase string, within time.Duration) (last State) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	svc, err := s.service(name)
	if err != nil {
		tb.Fatal(err)
	}
	err = await(ctx, name+" to be "+phase, func() (bool, error) {
		if svc.process == nil || !svc.process.running() {
			return false, fmt.Errorf("it has ended:\n%s", tail(svc.log, 20))
		}
		now, err := s.State(ctx, name)
		if now.Phase != "" {
			last = now
		}
		return now.Phase == phase, err
	})
	if err != nil {
		tb.Fatalf("%v; last it said %+v", err, last)
	}
	return last
}
