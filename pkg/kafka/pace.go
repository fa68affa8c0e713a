package kafka

import (
	"context"
	"time"

	"segue/pkg/frontier"
)

// maxFlying bounds the frontiers that wait for Kafka: Cut waits above it.
const maxFlying = 1024

// Cut offers a cut behind everything appended so far. With must it is made at once, else when the pace wants one; what an
// offer that was passed over told (loads, marks) goes into the next one.
func (w *Writer) Cut(ctx context.Context, cut frontier.Cut, must bool) error {
	w.mu.Lock()
	for w.err == nil && w.flying >= maxFlying {
		w.mu.Unlock()
		if err := w.waitRoom(ctx); err != nil {
			return err
		}
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	now := time.Now()
	w.offer(cut, now)
	if must {
		w.enter(&w.boundary, now)
		w.enter(&w.inner, now)
	} else {
		w.decide(now)
	}
	signal(w.wake) // to send what is due, or to set the timer
	return nil
}

// offer notes the cut. A boundary stands for the offers before it; a place inside a transaction never hides one.
func (w *Writer) offer(cut frontier.Cut, now time.Time) {
	o := &offer{cut: cut, upto: mark{seq: w.book.Next(), bytes: w.sent}, since: now}
	if w.inner != nil {
		o.cut = w.inner.cut.Then(o.cut)
		w.inner = nil
	}
	if !cut.Boundary {
		w.inner = o
		return
	}
	if w.boundary != nil {
		o.cut, o.since = w.boundary.cut.Then(o.cut), w.boundary.since
	}
	w.boundary = o
}

// decide takes the offers that the pace wants now.
func (w *Writer) decide(now time.Time) {
	if w.inner != nil && w.much(w.inner.upto) {
		w.enter(&w.boundary, now)
		w.enter(&w.inner, now)
	}
	if w.boundary != nil && ((w.flying == 0 && now.Sub(w.rested) >= w.pace.Rest) || now.Sub(w.boundary.since) >= w.pace.Delay || w.much(w.boundary.upto)) {
		w.enter(&w.boundary, now)
	}
}

// much says whether the cut is overdue by what came since the last one.
func (w *Writer) much(upto mark) bool {
	return upto.seq-w.last.seq >= uint64(w.pace.Changes) || upto.bytes-w.last.bytes >= w.pace.Bytes
}

// enter makes an offer a cut.
func (w *Writer) enter(at **offer, now time.Time) {
	o := *at
	if o == nil {
		return
	}
	*at = nil
	full := o.cut.Boundary && now.Sub(w.full) >= w.pace.Full
	if full {
		w.full = now
	}
	w.book.Cut(o.cut, o.upto.seq, full)
	w.flying++
	w.rested = now
	w.last = o.upto
}

// due decides and collects the frontiers that may go out, and says how long the pace can wait, 0 for ever.
func (w *Writer) due(now time.Time) ([]*frontier.Frontier, time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, 0, w.err
	}
	w.decide(now)
	var out []*frontier.Frontier
	for {
		f, err := w.book.Due()
		if err != nil {
			return nil, 0, rule(w.cfg.FrontierTopic, err)
		}
		if f == nil {
			break
		}
		f.Written = now.UnixMicro()
		out = append(out, f)
	}
	if w.boundary == nil {
		return out, 0, nil
	}
	until := w.boundary.since.Add(w.pace.Delay)
	if next := w.rested.Add(w.pace.Rest); w.flying == 0 && next.Before(until) {
		until = next
	}
	return out, max(time.Millisecond, until.Sub(now)), nil
}
