package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"segue/pkg/embedded"
	"segue/pkg/kafkatest"
	"segue/pkg/nettest"
)

// TestPipelineNetwork runs random histories through the whole product while the network between it, both databases and Kafka breaks: at random (reset,
// stalled, slowed down, refused), and exactly before and after the three messages on which the promises hang: a lane's records, a
// frontier, a confirmation to the slot. The model's verdict is exact (P1 to P4). SEGUE_NETWORKS sets how many, SEGUE_SEED runs one.
func TestPipelineNetwork(t *testing.T) {
	registry := srfake.New()
	t.Cleanup(registry.Close)
	for _, seed := range networkSeeds(t) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			runNetwork(t, registry.URL(), seed)
		})
	}
}

func networkSeeds(t *testing.T) []uint64 {
	t.Helper()
	if os.Getenv("SEGUE_SEED") != "" {
		return seeds(t)
	}
	n := 12
	if s := os.Getenv("SEGUE_NETWORKS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("SEGUE_NETWORKS: %v", err)
		}
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(1000 + i)
	}
	return out
}

// network is a story whose connections go through proxies.
type network struct {
	*story
	rnd                   *rand.Rand
	kafka, source, target *nettest.Proxy
	points                []*armed
}

// armed is a point with its name, for the test's messages.
type armed struct {
	*nettest.Point
	proxy *nettest.Proxy
	name  string
}

func runNetwork(t *testing.T, registry string, seed uint64) {
	n := &network{rnd: rand.New(rand.NewPCG(seed, 11))}
	n.kafka = n.broker(t)
	n.story = newStory(t, embedded.Addresses{Brokers: []string{n.kafka.Addr()}, Registry: registry}, seed)
	n.redirect()
	n.steps(n.rnd.IntN(40))
	n.arm(n.rnd.IntN(3)) // the first claim, the slot's making, the load's first chunks
	n.start()
	for range 4 + n.rnd.IntN(5) {
		n.steps(3 + n.rnd.IntN(15))
		n.arm(1 + n.rnd.IntN(2))
		n.random()
		n.meet()
	}
	n.steps(5)
	n.calm()
	n.settle()
	n.compare()
	n.stop()
	n.finish()
}

// broker starts a Kafka behind a proxy. It speaks Kafka 3.9's protocol: later ones name topics by numbers in produce requests.
func (n *network) broker(t *testing.T) *nettest.Proxy {
	t.Helper()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := nettest.On(front, nettest.Kafka)
	kafkatest.Fake(t, kfake.ListenFn(nettest.Behind(p).Listen), kfake.MaxVersions(kversion.V3_9_0()))
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// redirect lets segue reach each database through a proxy of its own; the test's own connections go straight.
func (n *network) redirect() {
	n.t.Helper()
	path := n.env["SEGUE_CONFIG"]
	text, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		for _, side := range []struct {
			key   string
			proxy **nettest.Proxy
		}{{"source: ", &n.source}, {"target: ", &n.target}} {
			if !strings.HasPrefix(line, side.key) {
				continue
			}
			raw := line[strings.Index(line, `"`)+1 : strings.LastIndex(line, `"`)]
			u, err := url.Parse(raw)
			if err != nil {
				n.t.Fatal(err)
			}
			if *side.proxy, err = nettest.Open(u.Host, nettest.Postgres); err != nil {
				n.t.Fatal(err)
			}
			proxy := *side.proxy
			n.t.Cleanup(func() { _ = proxy.Close() })
			u.Host = proxy.Addr()
			q := u.Query()
			q.Set("sslmode", "disable") // the proxy reads the protocol
			u.RawQuery = q.Encode()
			line = strings.Replace(line, raw, u.String(), 1)
		}
		out = append(out, line)
	}
	if err := os.WriteFile(path, []byte(strings.Join(out, "")), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// arm lets the network break at named points.
func (n *network) arm(count int) {
	for range count {
		var a *armed
		skip := n.rnd.IntN(4)
		switch n.rnd.IntN(6) {
		case 0:
			a = n.at(n.kafka, nettest.ProduceLane, nettest.Before, skip)
		case 1:
			a = n.at(n.kafka, nettest.ProduceLane, nettest.After, skip)
		case 2:
			a = n.at(n.kafka, nettest.ProduceFrontier, nettest.Before, skip)
		case 3:
			a = n.at(n.kafka, nettest.ProduceFrontier, nettest.After, skip)
		case 4:
			a = n.at(n.source, nettest.Status, nettest.Before, skip)
		default:
			a = n.at(n.source, nettest.Status, nettest.AfterSent, skip)
		}
		n.points = append(n.points, a)
	}
}

// meet goes on with the history until the newest point is met, or for a while: some never are.
func (n *network) meet() {
	n.t.Helper()
	late := time.After(700 * time.Millisecond)
	for {
		select {
		case <-n.points[len(n.points)-1].Fired():
			return
		case <-late:
			return
		case <-time.After(2 * time.Millisecond):
			n.steps(1)
		}
	}
}

func (n *network) at(p *nettest.Proxy, name string, action nettest.Action, skip int) *armed {
	return &armed{Point: p.At(name, action, skip), proxy: p, name: fmt.Sprintf("%s, %d", name, action)}
}

// random breaks something at once, for a moment.
func (n *network) random() {
	p := []*nettest.Proxy{n.kafka, n.source, n.target}[n.rnd.IntN(3)]
	moment := time.Duration(1+n.rnd.IntN(60)) * time.Millisecond
	switch n.rnd.IntN(6) {
	case 0:
		p.Reset()
	case 1:
		p.Stall()
		time.AfterFunc(moment, p.Resume)
	case 2:
		p.Stall() // what was kept back is lost
		time.AfterFunc(moment, func() { p.Reset(); p.Resume() })
	case 3:
		p.Delay(moment / 10)
		time.AfterFunc(4*moment, func() { p.Delay(0) })
	case 4:
		p.Refuse(true)
		p.Reset()
		time.AfterFunc(moment, func() { p.Refuse(false) })
	default:
	}
}

// calm takes what has not broken yet back, so that the story comes to an end, and tells what did.
func (n *network) calm() {
	fired := 0
	for _, a := range n.points {
		select {
		case <-a.Fired():
			fired++
		default:
			a.proxy.Drop(a.Point)
		}
	}
	for _, p := range []*nettest.Proxy{n.kafka, n.source, n.target} {
		p.Refuse(false)
		p.Delay(0)
		p.Resume()
	}
	n.t.Logf("%d of %d points were met; %s, %s", fired, len(n.points), n.stages, n.wire)
}

// TestPipelineNetworkPoints meets each point once, in both ways to run, and sees that it was met: a fault that never comes proves nothing.
func TestPipelineNetworkPoints(t *testing.T) {
	registry := srfake.New()
	t.Cleanup(registry.Close)
	type point struct {
		name   string
		action nettest.Action
	}
	for i, p := range []point{
		{nettest.ProduceLane, nettest.Before}, {nettest.ProduceLane, nettest.After}, {nettest.ProduceFrontier, nettest.Before},
		{nettest.ProduceFrontier, nettest.After}, {nettest.Status, nettest.Before}, {nettest.Status, nettest.AfterSent}, {nettest.Stream, nettest.Before},
		{nettest.Replication, nettest.Before}, {nettest.Replication, nettest.After},
	} {
		t.Run(fmt.Sprintf("%s %d", p.name, p.action), func(t *testing.T) {
			t.Parallel()
			seed := uint64(2000 + i)
			n := &network{rnd: rand.New(rand.NewPCG(seed, 11))}
			n.kafka = n.broker(t)
			n.story = newStory(t, embedded.Addresses{Brokers: []string{n.kafka.Addr()}, Registry: registry.URL()}, seed)
			n.redirect()
			n.steps(10)
			proxy := n.kafka
			if p.name == nettest.Status || p.name == nettest.Stream || p.name == nettest.Replication {
				proxy = n.source
			}
			a := n.at(proxy, p.name, p.action, 0)
			n.start()
			late := time.After(time.Minute)
			for met := false; !met; {
				n.steps(2)
				select {
				case <-a.Fired():
					met = true
				case <-late:
					n.fail("the point was not met")
				case <-time.After(5 * time.Millisecond):
				}
			}
			n.steps(10)
			n.settle()
			n.compare()
			n.stop()
		})
	}
}
