package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"segue/pkg/fault"
)

// Group runs components together. Add them all, then Run once.
type Group struct {
	log        *slog.Logger
	first, max time.Duration
	now        func() time.Time
	components []component
}

type component struct {
	run    Run
	status *Status
}

// NewGroup makes an empty group that talks to log.
func NewGroup(log *slog.Logger) *Group {
	return &Group{log: log, first: 200 * time.Millisecond, max: 15 * time.Second, now: time.Now}
}

// Add adds a component.
func (g *Group) Add(name string, run Run) {
	s := &Status{now: g.now, state: State{Name: name, Phase: Starting, Since: g.now()}}
	g.components = append(g.components, component{run: run, status: s})
}

// States returns the state of every component, in the order in which they were added.
func (g *Group) States() []State {
	out := make([]State, len(g.components))
	for i, c := range g.components {
		out[i] = c.status.State()
	}
	return out
}

// Run runs all components until they are done, ctx ends or one fails for good; then it stops the others and waits for
// them. It returns that failure, with the component's name.
func (g *Group) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		once sync.Once
		fail error
	)
	for _, c := range g.components {
		wg.Go(func() {
			if err := g.keep(ctx, c); err != nil {
				once.Do(func() { fail = err })
				cancel()
			}
		})
	}
	wg.Wait()
	return fail
}

// keep runs one component, again and again while its failures are transient.
func (g *Group) keep(ctx context.Context, c component) error {
	name := c.status.State().Name
	for {
		c.status.begin()
		err := protect(ctx, c)
		switch {
		case err == nil || (ctx.Err() != nil && (errors.Is(err, context.Canceled) || fault.ClassOf(err) == fault.ClassTransient)):
			c.status.end(Stopped, "", "")
			return nil
		case fault.ClassOf(err) != fault.ClassTransient:
			c.status.end(Failed, err.Error(), fault.HintOf(err))
			return fmt.Errorf("%s: %w", name, err)
		}
		attempt := c.status.failed(err.Error(), fault.HintOf(err))
		pause := g.pause(attempt)
		g.log.Warn("component waits and tries again", "component", name, "error", err.Error(), "attempt", attempt, "pause", pause.Round(time.Millisecond))
		if Sleep(ctx, pause) != nil {
			c.status.end(Stopped, "", "")
			return nil
		}
	}
}

// pause grows twofold from first to max, with a quarter of chance so that several processes do not knock in step.
func (g *Group) pause(attempt int) time.Duration {
	d := g.max
	if attempt < 16 {
		d = min(g.first<<(attempt-1), g.max)
	}
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// protect turns a panic into a fatal error, so that the other components still drain. The stack holds no row values:
// it has no arguments but addresses.
func protect(ctx context.Context, c component) (err error) {
	defer func() {
		if r := recover(); r != nil {
			what := fmt.Sprintf("panic of type %T", r) // its value may be a row's
			if e, ok := r.(runtime.Error); ok {
				what = e.Error()
			}
			err = fmt.Errorf("%s (a defect in segue)\n%s", what, debug.Stack())
		}
	}()
	return c.run(ctx, c.status)
}
