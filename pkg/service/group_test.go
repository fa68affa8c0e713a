package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"segue/pkg/fault"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

var errRefused = errors.New("connect: refused")

func TestTransientFailuresAreRetriedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(quiet())
		attempts := 0
		g.Add("reader", func(ctx context.Context, s *Status) error {
			attempts++
			if attempts < 40 {
				return fault.Transient(errRefused)
			}
			s.Ready()
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		time.Sleep(5 * time.Second)
		st := g.States()[0]
		if st.Phase != Waiting || st.Waiting != "connect: refused" || st.Attempt < 4 || time.Since(st.Since) < 4*time.Second {
			t.Errorf("while it waits: %+v", st)
		}
		time.Sleep(15 * time.Minute)
		if st := g.States()[0]; st.Phase != Ready || st.Attempt != 0 || st.Waiting != "" {
			t.Errorf("when it is ready: %+v", st)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a stop is no failure: %v", err)
		}
		if st := g.States()[0]; st.Phase != Stopped {
			t.Errorf("at the end: %+v", st)
		}
	})
}

func TestAFatalErrorStopsAllAndNamesItsComponent(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{
		{"fatal", fault.Fatal(errRefused, "segue check")},
		{"without a class", errRefused},
		{"poison that nobody parked", fault.Poison(errRefused)},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := NewGroup(quiet())
			drained := false
			g.Add("other", func(ctx context.Context, _ *Status) error {
				<-ctx.Done()
				drained = true
				return ctx.Err()
			})
			g.Add("applier", func(context.Context, *Status) error { return c.err })
			err := g.Run(t.Context())
			if !errors.Is(err, errRefused) || !strings.HasPrefix(err.Error(), "applier: ") {
				t.Errorf("got %v", err)
			}
			if !drained {
				t.Error("Run returned before the other component had")
			}
			if st := g.States()[1]; st.Phase != Failed || st.Waiting == "" {
				t.Errorf("state %+v", st)
			}
			if fault.HintOf(err) != fault.HintOf(c.err) {
				t.Errorf("lost the hint: %v", err)
			}
		})
	}
}

func TestAPanicStopsTheGroupWithoutItsValue(t *testing.T) {
	g := NewGroup(quiet())
	g.Add("reader", func(context.Context, *Status) error { panic("row value 4711") })
	err := g.Run(t.Context())
	if err == nil || strings.Contains(err.Error(), "4711") || !strings.Contains(err.Error(), "panic of type string") {
		t.Fatalf("got %v", err)
	}
}

func TestDoneComponentsEndTheGroup(t *testing.T) {
	g := NewGroup(quiet())
	g.Add("once", func(context.Context, *Status) error { return nil })
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPausesGrowAndStayBounded(t *testing.T) {
	g := NewGroup(quiet())
	last := time.Duration(0)
	for attempt := 1; attempt < 200; attempt++ {
		p := g.pause(attempt)
		if p <= 0 || p > g.max || (attempt < 7 && p <= last/2) {
			t.Fatalf("attempt %d: %s after %s", attempt, p, last)
		}
		last = p
	}
}
