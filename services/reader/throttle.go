package reader

import (
	"context"
	"sync"
	"time"

	"segue/pkg/service"
)

// throttle spreads what all workers read together over time. A chunk is paid for after it was read: the next one waits.
type throttle struct {
	rows, bytes int64 // per second; 0: no bound
	now         func() time.Time

	mu   sync.Mutex
	free time.Time // when what was read so far is paid for
}

func newThrottle(rows, bytes int64) *throttle {
	return &throttle{rows: rows, bytes: bytes, now: time.Now}
}

// wait pays for a chunk.
func (t *throttle) wait(ctx context.Context, rows, bytes int64) error {
	d := t.pay(rows, bytes)
	if d <= 0 {
		return nil
	}
	return service.Sleep(ctx, d)
}

// pay enters a chunk and returns how long its worker pauses.
func (t *throttle) pay(rows, bytes int64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.free.Before(now) {
		t.free = now
	}
	t.free = t.free.Add(max(cost(rows, t.rows), cost(bytes, t.bytes)))
	return t.free.Sub(now)
}

func cost(n, perSecond int64) time.Duration {
	if perSecond <= 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(perSecond) * float64(time.Second))
}
