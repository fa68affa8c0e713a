package kafka

import (
	"context"
	"fmt"
	"time"

	"segue/pkg/frontier"
)

// readBack follows the own frontier topic: only what it finds valid there may be acknowledged, because an older
// process's delayed claim can land before a frontier that Kafka has acknowledged. A later claim ends the Writer.
func (w *Writer) readBack(ctx context.Context, own int64) {
	for {
		rec, err := w.tape.next(ctx)
		if err != nil {
			if ctx.Err() == nil { // else Reclaim or Close goes on with the tape
				w.breakWith(err)
			}
			return
		}
		verdict, err := w.log.Add(rec)
		switch {
		case err != nil:
			w.breakWith(rule(w.cfg.FrontierTopic, err))
			return
		case verdict == frontier.Taken:
			w.breakWith(superseded(w.cfg.FrontierTopic, own, rec.Offset))
			return
		case verdict == frontier.Valid && rec.Frontier.Boundary:
			w.found(Found{Offset: rec.Offset, Frontier: rec.Frontier})
		}
	}
}

// found puts the newest into the channel; what nobody took makes way.
func (w *Writer) found(f Found) {
	select {
	case <-w.valid:
	default:
	}
	w.valid <- f // only this goroutine sends, so there is room
}

// Reclaim claims anew: everything appended behind the last boundary cut is taken back, and Resumed stands at that cut. A stage does so when
// its input takes back what the stage has passed on already; upstream is that claim's offset.
func (w *Writer) Reclaim(ctx context.Context, upstream int64) error {
	if err := w.settle(ctx); err != nil {
		return err
	}
	own := w.Incarnation()
	w.unread()
	w.reader.Wait()
	if err := w.Err(); err != nil {
		return err
	}
	if err := w.takeOver(ctx, upstream, own); err != nil {
		err = fmt.Errorf("claim %s again: %w", w.cfg.FrontierTopic, err)
		w.breakWith(err)
		return err
	}
	return nil
}

// settle makes a pending boundary a cut and waits until Kafka has acknowledged every frontier.
func (w *Writer) settle(ctx context.Context) error {
	w.mu.Lock()
	w.inner = nil // behind the last boundary, so it would be taken back anyway
	w.enter(&w.boundary, time.Now())
	w.mu.Unlock()
	signal(w.wake)
	for {
		w.mu.Lock()
		err, done := w.err, w.flying == 0
		w.mu.Unlock()
		if err != nil || done {
			return err
		}
		if err := w.waitRoom(ctx); err != nil {
			return err
		}
	}
}

// Close makes a pending boundary a cut, waits until Kafka has acknowledged every frontier or ctx ends, and lets go. What was appended
// behind the last cut counts for nothing. Closing twice is fine.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	again := w.closed
	w.closed = true
	w.mu.Unlock()
	if again {
		return nil
	}
	err := w.settle(ctx)
	w.breakWith(ErrClosed)
	w.unread()
	w.reader.Wait()
	w.tasks.Wait()
	w.lanes.Close()
	w.front.Close()
	return err
}
