// Package nettest is a network between two processes that a test can break: cut, reset, stall, slow down, refuse, at random moments or
// exactly before or after a message of PostgreSQL's or Kafka's protocol. What comes through is never changed, only late or not
// at all, as with a real network.
package nettest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy forwards connections to one address. All methods may be called at any time from any goroutine.
type Proxy struct {
	listener net.Listener
	upstream string
	framer   func() Framer

	mu      sync.Mutex
	links   map[*link]struct{}
	refuse  bool
	delay   time.Duration
	stalled chan struct{} // closed when bytes may pass
	points  []*Point
	seen    map[string]int
	closed  bool
	wg      sync.WaitGroup
}

// Open starts a proxy on a free port of this host. The framer, nil for none, tells the client's messages apart for At.
func Open(upstream string, framer func() Framer) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it listens until Close
	if err != nil {
		return nil, fmt.Errorf("proxy of %s: %w", upstream, err)
	}
	p := On(l, framer)
	p.Serve(upstream)
	return p, nil
}

// On makes a proxy of a listener that is there already, for servers that must know their public address before they start: Serve begins
// to forward.
func On(l net.Listener, framer func() Framer) *Proxy {
	open := make(chan struct{})
	close(open)
	return &Proxy{listener: l, framer: framer, links: map[*link]struct{}{}, stalled: open, seen: map[string]int{}}
}

// Serve forwards to the address from now on.
func (p *Proxy) Serve(upstream string) {
	p.upstream = upstream
	p.wg.Add(1)
	go p.accept()
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends the proxy and all connections.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.Resume()
	p.Reset()
	p.wg.Wait()
	return err
}

// Reset breaks all connections at once, both ends see a reset; what was under way is lost. It returns how many there were.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		l.reset()
	}
	return len(links)
}

// Refuse lets new connections be closed at once, or accepts them again.
func (p *Proxy) Refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = yes
}

// Stall keeps all bytes back, in both directions, on connections old and new: nobody notices but by waiting. Resume ends it.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stalled:
		p.stalled = make(chan struct{})
	default:
	}
}

// Resume ends a stall: what was kept back goes on its way.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stalled:
	default:
		close(p.stalled)
	}
}

// Delay keeps each piece of data back so long, in both directions; 0 ends it.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

func (p *Proxy) accept() {
	defer p.wg.Done()
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.mu.Lock()
		refuse := p.refuse || p.closed
		p.mu.Unlock()
		if refuse {
			hardClose(c)
			continue
		}
		p.wg.Add(1)
		go p.connect(c)
	}
}

func (p *Proxy) connect(client net.Conn) {
	defer p.wg.Done()
	server, err := net.DialTimeout("tcp", p.upstream, 10*time.Second) //nolint:noctx // the proxy's end closes it
	if err != nil {
		hardClose(client)
		return
	}
	l := &link{proxy: p, client: client, server: server, gone: make(chan struct{})}
	if p.framer != nil {
		l.framer = p.framer()
	}
	p.mu.Lock()
	late := p.closed
	p.links[l] = struct{}{}
	p.mu.Unlock()
	if late {
		l.reset()
	}
	var both sync.WaitGroup
	both.Add(2)
	go func() { defer both.Done(); l.up() }()
	go func() { defer both.Done(); l.down() }()
	both.Wait()
	_ = client.Close()
	_ = server.Close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pass waits while bytes are kept back; false when the connection is gone.
func (p *Proxy) pass(gone <-chan struct{}) bool {
	p.mu.Lock()
	stalled, delay := p.stalled, p.delay
	p.mu.Unlock()
	select {
	case <-stalled:
	case <-gone:
		return false
	}
	if delay <= 0 {
		return true
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-gone:
		return false
	}
}

// hardClose resets instead of ending in order.
func hardClose(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
