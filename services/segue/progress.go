package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"segue/services/reader"
	"segue/services/status"
)

// How often the initial load is shown: in place on a terminal, as lines elsewhere.
const (
	drawEvery = 500 * time.Millisecond
	tellEvery = 5 * time.Second
)

// watch shows the initial load while it lasts. The channel is closed when watching has ended.
func (w *work) watch(ctx context.Context, p *process) <-chan struct{} {
	l := &loading{out: w.board, inPlace: p.terminal}
	every := tellEvery
	if l.inPlace {
		every = drawEvery
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if r := w.meters.reading(); r != nil && l.show(r.Progress()) {
				return
			}
		}
	}()
	return done
}

// loading shows how far the tables are.
type loading struct {
	out     *board
	inPlace bool
	began   bool
	told    string
}

// show says whether all tables are complete. Nothing is shown of a load that was complete before.
func (l *loading) show(all map[string]reader.Progress) bool {
	if all == nil {
		return false
	}
	names := slices.Sorted(maps.Keys(all))
	var sum reader.Progress
	complete := 0
	for _, n := range names {
		sum.Done, sum.Blocks = sum.Done+all[n].Done, sum.Blocks+all[n].Blocks
		if all[n].Complete {
			complete++
		}
	}
	whole := complete == len(names)
	if whole && !l.began {
		return true
	}
	l.began = true
	line := fmt.Sprintf("initial load: %d of %d tables complete, %d %%\n", complete, len(names), percent(sum))
	switch {
	case l.inPlace:
		l.out.draw(bars(names, all) + line)
		if whole {
			l.out.keep()
		}
	case line != l.told:
		_, _ = io.WriteString(l.out, line)
	}
	l.told = line
	return whole
}

// most is how many tables are drawn at once; where there are more, complete ones make way.
const most = 20

func bars(names []string, all map[string]reader.Progress) string {
	var b strings.Builder
	lines := 0
	for _, n := range names {
		if lines == most || (all[n].Complete && len(names) > most) {
			continue
		}
		lines++
		fmt.Fprintf(&b, "  %-40s %s %3d %%\n", n, status.Bar(int64(all[n].Done), int64(all[n].Blocks)), percent(all[n]))
	}
	return b.String()
}

func percent(p reader.Progress) int64 { return status.Percent(int64(p.Done), int64(p.Blocks)) }
