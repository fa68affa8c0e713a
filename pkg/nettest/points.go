package nettest

import "slices"

// Action is what happens to a connection at a point.
type Action int

// What happens at a message.
const (
	// Before breaks the connection instead of sending the message.
	Before Action = iota
	// After lets the server have the message, and breaks the connection when it answers: the answer is lost.
	After
	// AfterSent lets the server have the message and breaks the connection at once, for messages without an answer.
	AfterSent
)

// Point is a fault that waits for its message.
type Point struct {
	name   string
	action Action
	skip   int
	fired  chan struct{}
}

// At breaks a connection at a message of this name, the first one after so many; each point fires once. Messages of all connections count.
func (p *Proxy) At(name string, action Action, skip int) *Point {
	point := &Point{name: name, action: action, skip: skip, fired: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.points = append(p.points, point)
	return point
}

// Fired is closed when the connection is broken.
func (p *Point) Fired() <-chan struct{} { return p.fired }

func (p *Point) fire() { close(p.fired) }

// Drop takes a point back that has not been met yet.
func (p *Proxy) Drop(point *Point) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.points = slices.DeleteFunc(p.points, func(x *Point) bool { return x == point })
}

// Seen is how many messages of a name were met.
func (p *Proxy) Seen(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[name]
}

// meets returns the point whose message this is, nil where there is none.
func (p *Proxy) meets(name string) *Point {
	if name == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[name]++
	p.seen[Any]++
	for i, point := range p.points {
		if point.name != name && point.name != Any {
			continue
		}
		if point.skip > 0 {
			point.skip--
			continue
		}
		p.points = append(p.points[:i:i], p.points[i+1:]...)
		return point
	}
	return nil
}
