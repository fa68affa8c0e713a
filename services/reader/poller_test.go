package reader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/pgsource"
)

// echo is an emitter that answers at once, or never.
type echo struct {
	dumb  bool
	beats int
}

func (e *echo) Emit(ctx context.Context, _ chunk.Mark) error {
	e.beats++
	if e.dumb {
		<-ctx.Done()
		return fault.Transient(ctx.Err())
	}
	return nil
}

// A stream that stands still although its connection lives is told, again and again, and so is a server that does not answer.
func TestSilenceIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		back  bool // what is written comes back
		dumb  bool
		lines int
		part  string
	}{
		"all is well":     {back: true},
		"a dumb stream":   {lines: 3, part: "nothing comes"},
		"a silent server": {dumb: true, lines: 3, part: "asking the source again"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				began := time.Now()
				p := &poller{
					log: slog.New(slog.NewTextHandler(&out, nil)), emitter: &echo{dumb: c.dumb}, heartbeat: 2 * time.Second,
					heard: func() time.Time {
						if c.back {
							return time.Now().Add(-time.Second)
						}
						return began
					},
				}
				ctx, cancel := context.WithTimeout(t.Context(), 125*time.Second)
				defer cancel()
				_ = patiently(ctx, p.log, "heartbeat", p.beats)
				if n := strings.Count(out.String(), c.part); c.part != "" && n != c.lines || c.part == "" && out.Len() > 0 {
					t.Errorf("%d lines: %s", n, out.String())
				}
			})
		})
	}
}

// What the publication leaves out is noticed while the reader runs: nothing in the stream would tell.
func TestThePublicationIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &poller{
			every: 15 * time.Second, log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil), progress: func() map[string]Progress { return nil },
			slot:      func(context.Context) (pgsource.SlotState, error) { return pgsource.SlotState{Exists: true}, nil },
			published: func(context.Context) error { return io.ErrUnexpectedEOF },
		}
		began := time.Now()
		if err := p.watch(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || time.Since(began) > 2*p.every {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// The stream's connection may outlive the truth: what a poll says of server and slot ends the life, and the next start says what happened.
func TestWhatALifeEndsOn(t *testing.T) {
	began := pgsource.Identity{SystemID: "7", Timeline: 2}
	fine := pgsource.SlotState{Exists: true, SystemID: "7", Timeline: 2, WALStatus: "reserved"}
	for name, c := range map[string]struct {
		change func(*pgsource.SlotState)
		want   string
	}{
		"nothing":          {func(*pgsource.SlotState) {}, ""},
		"another cluster":  {func(s *pgsource.SlotState) { s.SystemID = "8" }, "another cluster"},
		"a standby":        {func(s *pgsource.SlotState) { s.Recovery, s.Timeline = true, 0 }, "a standby"},
		"a promotion":      {func(s *pgsource.SlotState) { s.Timeline = 3 }, "timeline 3"},
		"a dropped slot":   {func(s *pgsource.SlotState) { s.Exists = false }, "was dropped"},
		"an invalid slot":  {func(s *pgsource.SlotState) { s.WALStatus = "lost" }, "invalidated"},
		"a slot in danger": {func(s *pgsource.SlotState) { s.WALStatus = "unreserved" }, ""},
	} {
		s := fine
		c.change(&s)
		p := &poller{
			log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil), progress: func() map[string]Progress { return nil }, identity: began, name: "s", every: time.Hour,
			slot: func(context.Context) (pgsource.SlotState, error) { return s, nil },
		}
		ctx, cancel := context.WithCancel(t.Context())
		p.published = func(context.Context) error { cancel(); return nil }
		if c.want == "" {
			cancel()
		}
		err := patiently(ctx, p.log, "slot", p.watch)
		cancel()
		if c.want == "" && !errors.Is(err, context.Canceled) || c.want != "" && (!errors.Is(err, errOver) || fault.ClassOf(err) != fault.ClassTransient || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
