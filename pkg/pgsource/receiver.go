package pgsource

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"segue/pkg/fault"
	"segue/pkg/postgres"
)

const (
	pieceSize    = 64 << 10
	frame        = 4 // a length in front of each message in a piece
	writeTimeout = 30 * time.Second
	walHeader    = 25 // 'w', start, end, time
	keepaliveLen = 18 // 'k', end, time, reply requested
)

// errClosed is what a closed stream's Next returns in the end.
var errClosed = errors.New("the stream was closed")

// receiver owns the replication connection. One goroutine reads it and puts copies of the messages into the queue; when
// the queue is full it stops reading and the server waits. Another one writes status messages on its own timer, so that neither a
// slow consumer nor a silent server ends in a timeout.
type receiver struct {
	conn      *pgconn.HijackedConn
	queue     *queue
	every     time.Duration
	received  atomic.Uint64
	confirmed atomic.Uint64
	ask       chan struct{} // the server wants a status now
	stopped   [2]chan struct{}
	piece     []byte // received and not yet handed over
}

func newReceiver(conn *pgconn.HijackedConn, paced *pacedConn, limit int, every time.Duration) *receiver {
	r := &receiver{conn: conn, queue: newQueue(limit), every: every, ask: make(chan struct{}, 1)}
	r.stopped = [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	paced.drained = r.handOver
	go func() {
		defer close(r.stopped[0])
		r.end(r.read())
	}()
	go func() {
		defer close(r.stopped[1])
		r.end(r.report())
	}()
	return r
}

// end gives both goroutines and the consumer the reason, the first one counts, and makes blocked calls return.
func (r *receiver) end(err error) {
	r.queue.close(err)
	_ = r.conn.Conn.Close()
}

// close tells the server what was confirmed, leaves, and waits for both goroutines.
func (r *receiver) close() {
	select {
	case <-r.queue.done:
	default:
		_ = r.sendStatus()
	}
	r.end(errClosed)
	<-r.stopped[0]
	<-r.stopped[1]
}

// read takes messages until the connection ends. Messages that arrived together are handed over together.
func (r *receiver) read() error {
	for {
		msg, err := r.conn.Frontend.Receive()
		if err != nil {
			return r.failure("receive", err)
		}
		data, err := r.payload(msg)
		if err != nil {
			return err
		}
		if data == nil {
			continue
		}
		if cap(r.piece)-len(r.piece) < frame+len(data) {
			if err := r.handOver(); err != nil {
				return err
			}
			r.piece = make([]byte, 0, max(pieceSize, frame+len(data)))
		}
		r.piece = binary.BigEndian.AppendUint32(r.piece, uint32(len(data)))
		r.piece = append(r.piece, data...)
	}
}

// handOver gives the consumer what was received. The rest of the piece's memory takes what comes next.
func (r *receiver) handOver() error {
	if len(r.piece) == 0 {
		return nil
	}
	if !r.queue.put(r.piece) {
		return errClosed
	}
	r.piece = r.piece[len(r.piece):]
	return nil
}

// payload returns what the consumer needs of a message and notes what the server says about positions.
func (r *receiver) payload(msg pgproto3.BackendMessage) ([]byte, error) {
	switch m := msg.(type) {
	case *pgproto3.CopyData:
		return r.copyData(m.Data)
	case *pgproto3.ErrorResponse:
		return nil, serverError(pgconn.ErrorResponseToPgError(m))
	case *pgproto3.CopyDone:
		return nil, fault.Transient(errors.New("replication stream: the server ended it"))
	}
	return nil, nil // notices and parameters
}

func (r *receiver) copyData(b []byte) ([]byte, error) {
	switch {
	case len(b) > walHeader && b[0] == 'w':
		r.noteReceived(binary.BigEndian.Uint64(b[1:]))
		b[walHeader-1] = 'w' // the header is done with: its last byte says what follows
		return b[walHeader-1:], nil
	case len(b) == keepaliveLen && b[0] == 'k':
		r.noteReceived(binary.BigEndian.Uint64(b[1:]))
		if b[keepaliveLen-1] != 0 {
			signal(r.ask)
		}
		return b, nil
	}
	return nil, fmt.Errorf("replication stream: a message of %d bytes that is neither log nor keepalive", len(b))
}

func (r *receiver) noteReceived(lsn uint64) {
	if lsn > r.received.Load() {
		r.received.Store(lsn)
	}
}

// report sends a status on a timer and whenever the server asks.
func (r *receiver) report() error {
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	for {
		if err := r.sendStatus(); err != nil {
			return r.failure("send status", err)
		}
		select {
		case <-ticker.C:
		case <-r.ask:
		case <-r.queue.done:
			return errClosed
		}
	}
}

// sendStatus names all three positions: what was received, and twice what was confirmed. A zero is left zero, which tells the server
// nothing; it must never be filled with what was merely received.
func (r *receiver) sendStatus() error {
	confirmed := r.confirmed.Load()
	b := make([]byte, 0, 39)
	b = append(b, 'd', 0, 0, 0, 38, 'r')
	b = binary.BigEndian.AppendUint64(b, max(r.received.Load(), confirmed))
	b = binary.BigEndian.AppendUint64(b, confirmed)
	b = binary.BigEndian.AppendUint64(b, confirmed)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixMicro()-epoch2000))
	b = append(b, 0)
	if err := r.conn.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := r.conn.Conn.Write(b)
	return err
}

// failure makes a lost connection worth a retry.
func (r *receiver) failure(step string, err error) error {
	if errors.Is(err, net.ErrClosed) {
		err = errClosed // by the other goroutine, which has the reason
	}
	return fmt.Errorf("replication stream: %s: %w", step, postgres.Safe(err))
}
