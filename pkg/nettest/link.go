package nettest

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// link is one connection through the proxy.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	framer         Framer
	once           sync.Once
	gone           chan struct{} // closed by reset
	// lost, where set, is the point whose answer must not arrive: the next bytes of the server end the connection.
	lost atomic.Pointer[Point]
}

func (l *link) reset() {
	l.once.Do(func() {
		close(l.gone)
		hardClose(l.client)
		hardClose(l.server)
	})
}

// up forwards what the client sends, message by message where there is a framer.
func (l *link) up() {
	if l.framer == nil {
		l.copy(l.server, l.client)
		return
	}
	var held []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		held = append(held, buf[:n]...)
		for {
			size, name := l.framer.Next(held)
			if size <= 0 || size > len(held) {
				break
			}
			if !l.message(held[:size], name) {
				return
			}
			held = held[size:]
		}
		if err != nil {
			l.ended(l.server, err)
			return
		}
	}
}

// message forwards one message, or breaks the connection around it; false when that is over.
func (l *link) message(b []byte, name string) bool {
	if !l.proxy.pass(l.gone) {
		return false
	}
	point := l.proxy.meets(name)
	if point != nil && point.action == Before {
		l.reset()
		point.fire()
		return false
	}
	if point != nil && point.action == After {
		l.lost.Store(point)
	}
	if _, err := l.server.Write(b); err != nil {
		l.reset()
		return false
	}
	if point != nil && point.action == AfterSent {
		// The server gets it all and an orderly end; the client sees a reset.
		hardClose(l.client)
		if t, ok := l.server.(*net.TCPConn); ok {
			_ = t.CloseWrite()
		}
		point.fire()
		return false
	}
	return true
}

// down forwards what the server sends.
func (l *link) down() {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buf)
		if p := l.lost.Load(); p != nil && n > 0 {
			l.reset()
			p.fire()
			return
		}
		if n > 0 {
			if !l.proxy.pass(l.gone) {
				return
			}
			if _, werr := l.client.Write(buf[:n]); werr != nil {
				l.reset()
				return
			}
		}
		if err != nil {
			l.ended(l.client, err)
			return
		}
	}
}

func (l *link) copy(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !l.proxy.pass(l.gone) {
				return
			}
			if _, werr := to.Write(buf[:n]); werr != nil {
				l.reset()
				return
			}
		}
		if err != nil {
			l.ended(to, err)
			return
		}
	}
}

// ended hands one side's end on to the other.
func (l *link) ended(other net.Conn, err error) {
	if !errors.Is(err, io.EOF) {
		l.reset()
		return
	}
	if t, ok := other.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}
