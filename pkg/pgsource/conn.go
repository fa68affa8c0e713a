package pgsource

import (
	"net"
	"time"
)

const (
	readBuffer = 64 << 10
	// pace is the least time between two reads, busyPace the same where the last read found busyBytes: the server writes
	// each row by itself, and to take each by itself costs more than to decode it, here and there. What comes after a pause is
	// read at once.
	pace      = 200 * time.Microsecond
	busyPace  = time.Millisecond
	busyBytes = 2 << 10
)

// pacedConn reads ahead in large pieces. Before it reads from the network it calls drained: everything that was received has
// been looked at then.
type pacedConn struct {
	net.Conn
	buf     []byte // read and not yet taken: [r:w)
	r, w    int
	drained func() error // nil: the stream has not begun, nothing is paced
	last    time.Time
}

func newPacedConn(c net.Conn) *pacedConn { return &pacedConn{Conn: c, buf: make([]byte, readBuffer)} }

// Read is for one goroutine.
func (c *pacedConn) Read(p []byte) (int, error) {
	if c.r == c.w {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

func (c *pacedConn) fill() error {
	if c.drained != nil {
		if err := c.drained(); err != nil {
			return err
		}
		if wait := c.pace() - time.Since(c.last); wait > 0 {
			time.Sleep(wait)
		}
	}
	n, err := c.Conn.Read(c.buf)
	c.r, c.w = 0, n
	c.last = time.Now()
	if n > 0 {
		return nil // an error comes again with the next read
	}
	return err
}

// pace depends on what the last read found: where that filled the buffer there is more already.
func (c *pacedConn) pace() time.Duration {
	switch {
	case c.w == len(c.buf):
		return 0
	case c.w >= busyBytes:
		return busyPace
	}
	return pace
}
