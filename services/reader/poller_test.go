package reader

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"segue/pkg/pgsource"
)

// What the publication leaves out is noticed while the reader runs: nothing in the stream would tell.
func TestThePublicationIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &poller{
			log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil), progress: func() map[string]Progress { return nil },
			slot:      func(context.Context) (pgsource.SlotState, error) { return pgsource.SlotState{}, nil },
			published: func(context.Context) error { return io.ErrUnexpectedEOF },
		}
		began := time.Now()
		if err := p.watch(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || time.Since(began) > 2*heapsEvery {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
