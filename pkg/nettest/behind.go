package nettest

import "net"

// Front lets a server in this process listen behind a proxy and take the proxy's address for its own, as Kafka's clients connect to the address that
// the broker tells them.
type Front struct{ proxy *Proxy }

// Behind makes the way in for a server behind a proxy from On.
func Behind(p *Proxy) Front { return Front{proxy: p} }

// Listen has net.Listen's form: it listens on a free port, and says that it is the proxy's.
func (f Front) Listen(string, string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the server closes it
	if err != nil {
		return nil, err
	}
	f.proxy.Serve(l.Addr().String())
	return front{Listener: l, addr: f.proxy.listener.Addr()}, nil
}

type front struct {
	net.Listener
	addr net.Addr
}

// Addr implements net.Listener.
func (f front) Addr() net.Addr { return f.addr }
