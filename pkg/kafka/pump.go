package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/fault"
	"segue/pkg/frontier"
)

// pump sends frontiers as they become due, in order, without waiting for one before the next. It alone appends frontiers.
func (w *Writer) pump() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		frontiers, wait, err := w.due(time.Now())
		if err != nil {
			w.breakWith(err)
			return
		}
		for _, f := range frontiers {
			if err := w.send(f); err != nil {
				w.breakWith(err)
				return
			}
		}
		if wait == 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-w.ctx.Done():
			return
		case <-w.broken:
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

func (w *Writer) send(f *frontier.Frontier) error {
	value, err := w.cfg.Codec.EncodeFrontier(frontier.Record{Frontier: f})
	if err != nil {
		return fault.Fatal(fmt.Errorf("encode the frontier at %s: %w", f.At, err), "")
	}
	w.front.Produce(w.ctx, &kgo.Record{Topic: w.cfg.FrontierTopic, Value: value}, w.landed)
	return nil
}

// landed enters what Kafka said of a frontier. It runs on the client's goroutine and never blocks.
func (w *Writer) landed(_ *kgo.Record, err error) {
	if err != nil {
		w.fail(err, "write", w.cfg.FrontierTopic, 0)
		return
	}
	w.mu.Lock()
	w.flying--
	waiting := w.boundary != nil && w.flying == 0
	w.mu.Unlock()
	if waiting {
		signal(w.wake)
	}
	signal(w.room)
}

// fail breaks the Writer with an error of the client library.
func (w *Writer) fail(err error, step, topic string, partition int32) {
	if errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, context.Canceled) {
		err = ErrClosed
	}
	w.breakWith(classify(fmt.Errorf("%s %s/%d: %w", step, topic, partition, err)))
}

// breakWith breaks the Writer; the first reason stays. What was not sent yet is not sent any more.
func (w *Writer) breakWith(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		close(w.broken)
		w.cancel()
	}
}
