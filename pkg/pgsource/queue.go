package pgsource

import (
	"context"
	"sync"
)

// queue hands received bytes from the goroutine that owns the connection to the one that calls Next. It holds at most
// limit bytes and one piece more.
type queue struct {
	limit int
	ready chan struct{} // signalled when there is something to take
	space chan struct{} // signalled when something was taken
	done  chan struct{} // closed when nothing will be put any more

	mu     sync.Mutex
	pieces [][]byte
	bytes  int
	err    error
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, ready: make(chan struct{}, 1), space: make(chan struct{}, 1), done: make(chan struct{})}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put waits until there is room. It returns false when the queue was closed.
func (q *queue) put(piece []byte) bool {
	for {
		q.mu.Lock()
		if q.err != nil {
			q.mu.Unlock()
			return false
		}
		if q.bytes < q.limit {
			q.pieces = append(q.pieces, piece)
			q.bytes += len(piece)
			q.mu.Unlock()
			signal(q.ready)
			return true
		}
		q.mu.Unlock()
		select {
		case <-q.space:
		case <-q.done:
		}
	}
}

// take returns the next piece. When the queue was closed, what is left comes first and then the reason.
func (q *queue) take(ctx context.Context) ([]byte, error) {
	for {
		if piece, err := q.try(); piece != nil || err != nil {
			return piece, err
		}
		select {
		case <-q.ready:
		case <-q.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (q *queue) try() ([]byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pieces) == 0 {
		return nil, q.err
	}
	piece := q.pieces[0]
	q.pieces[0] = nil
	q.pieces = q.pieces[1:]
	q.bytes -= len(piece)
	signal(q.space)
	return piece, nil
}

// close ends the queue with a reason; the first one counts.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		close(q.done)
	}
}

func (q *queue) held() (pieces, size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pieces), q.bytes
}
