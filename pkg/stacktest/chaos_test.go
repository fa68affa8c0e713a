package stacktest_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"segue/pkg/kafkatest"
	"segue/pkg/nettest"
	"segue/pkg/stacktest"
)

// TestRealChaos lets everything happen at once to five services, two of them with a second process that stands by: people use the legacy store,
// the first load runs, tables are read again, processes are killed and stopped, connections to both databases and to Kafka are cut, stalled and
// refused, sessions are terminated. Nothing may be lost, doubled or out of order, and no process may end by itself (P1 to P4, P9). It takes
// SEGUE_CHAOS_MINUTES, a short while by default; `make chaos MINUTES=15` prints what happened.
func TestRealChaos(t *testing.T) {
	length := 20 * time.Second
	if text := os.Getenv("SEGUE_CHAOS_MINUTES"); text != "" {
		minutes, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("SEGUE_CHAOS_MINUTES: %v", err)
		}
		length = time.Duration(minutes * float64(time.Minute))
	}
	c := openChaos(t)
	c.run(length)
}

// chaos is the stack, and what can happen to it.
type chaos struct {
	t       *testing.T
	s       *stacktest.Stack
	rnd     *rand.Rand
	bank    *bank
	proxies map[string]*nettest.Proxy
	names   []string // of processes

	done     map[string]int           // actions by name
	recovery map[string]time.Duration // the longest, by action
	mu       sync.Mutex
	resyncs  map[int]int // by exit code
	pending  sync.WaitGroup
}

func openChaos(t *testing.T) *chaos {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := &chaos{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), done: map[string]int{}, recovery: map[string]time.Duration{}, resyncs: map[int]int{},
		names: []string{"reader", "transformer", "deduplicator", "applier", "reconciler", "reader#2", "applier#2"},
	}
	c.proxies = map[string]*nettest.Proxy{"kafka": c.broker()}
	c.s = stacktest.Open(t, stacktest.Config{
		Form: stacktest.Staged, Spec: "kafka: {partitions: 3}\ntables: [{from: \"public.*\"}]\n",
		Brokers: []string{c.proxies["kafka"].Addr()}, Through: c.through,
	})
	c.bank = openBank(t, c.s)
	return c
}

// broker starts a Kafka of this test's own, which names a proxy as its address.
func (c *chaos) broker() *nettest.Proxy {
	c.t.Helper()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	p := nettest.On(front, nil)
	c.t.Cleanup(func() { _ = p.Close() })
	k := kafkatest.Real(c.t, kafkatest.Config{Advertised: p.Addr()})
	p.Serve(k.Brokers()[0])
	return p
}

// through puts a proxy in front of a database: the legacy store is asked for first.
func (c *chaos) through(raw string) string {
	c.t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		c.t.Fatal(err)
	}
	name := "legacy"
	if c.proxies[name] != nil {
		name = "target"
	}
	p, err := nettest.Open(u.Host, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = p.Close() })
	c.proxies[name] = p
	u.Host = p.Addr()
	return u.String()
}

func (c *chaos) run(length time.Duration) {
	c.t.Helper()
	c.s.Start(c.t, c.names...)
	stop := c.bank.open(c.t)
	begun := time.Now()
	for time.Since(begun) < length && !c.t.Failed() {
		c.action()
		if err := c.s.Running(); err != nil {
			c.t.Error(err)
		}
	}
	transactions := stop()
	c.pending.Wait()
	c.s.Applied(c.t, 3*time.Minute)
	took := time.Since(begun)
	rows := c.s.Compare(c.t, c.bank.pairs())
	c.bank.audit(c.t)
	if r := c.s.Command(c.t, 5*time.Minute, "reconcile", "--wait", "--timeout", "4m"); r.Code != 0 {
		c.t.Errorf("reconcile: %s", r)
	}
	c.summary(took, transactions, rows)
}

// actions by name; each leaves everything as it was, or heals by itself.
func (c *chaos) action() {
	all := map[string]func(){
		"kill": c.kill, "stop and go on": c.freeze, "reset": c.reset, "stall": c.stall, "delay": c.delay, "refuse": c.refuse,
		"terminate sessions": c.terminate, "resync": c.resync,
	}
	names := slices.Sorted(maps.Keys(all))
	name := names[c.rnd.IntN(len(names))]
	all[name]()
	c.done[name]++
	healed := time.Now()
	if !c.bank.fresh(c.t, healed, 90*time.Second) {
		c.t.Errorf("after %s: the target does not follow again within 90 s\n%s", name, c.s.Command(c.t, 30*time.Second, "status"))
	}
	c.recovery[name] = max(c.recovery[name], time.Since(healed))
}

func (c *chaos) moment(most time.Duration) time.Duration {
	return time.Duration(c.rnd.Int64N(int64(most)))
}

func (c *chaos) wait(most time.Duration) { <-time.After(c.moment(most)) }

func (c *chaos) kill() {
	for range 1 + c.rnd.IntN(3) {
		name := c.names[c.rnd.IntN(len(c.names))]
		c.s.Kill(c.t, name)
		c.wait(500 * time.Millisecond)
		c.s.Start(c.t, name)
	}
}

// freeze stops a process, sometimes for longer than its seat lasts.
func (c *chaos) freeze() {
	name := c.names[c.rnd.IntN(len(c.names))]
	c.s.Freeze(c.t, name)
	c.wait(9 * time.Second)
	c.s.Thaw(c.t, name)
}

func (c *chaos) proxy() *nettest.Proxy {
	names := slices.Sorted(maps.Keys(c.proxies))
	return c.proxies[names[c.rnd.IntN(len(names))]]
}

func (c *chaos) reset() {
	for range 1 + c.rnd.IntN(4) {
		c.proxy().Reset()
		c.wait(300 * time.Millisecond)
	}
}

func (c *chaos) stall() {
	p := c.proxy()
	p.Stall()
	c.wait(4 * time.Second)
	if c.rnd.IntN(2) == 0 {
		p.Reset() // what was kept back is lost
	}
	p.Resume()
}

func (c *chaos) delay() {
	p := c.proxy()
	p.Delay(c.moment(20 * time.Millisecond))
	c.wait(2 * time.Second)
	p.Delay(0)
}

func (c *chaos) refuse() {
	p := c.proxy()
	p.Refuse(true)
	p.Reset()
	c.wait(3 * time.Second)
	p.Refuse(false)
}

// terminate ends segue's sessions on one of the databases, as an administrator would.
func (c *chaos) terminate() {
	url := []string{c.s.Legacy, c.s.Target}[c.rnd.IntN(2)]
	execute(c.t, url, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'segue:%' AND datname = current_database()")
}

// resync asks for a table again while all goes on.
func (c *chaos) resync() {
	name := []string{"public.account", "public.entry"}[c.rnd.IntN(2)]
	c.pending.Go(func() {
		r := c.s.Command(c.t, 3*time.Minute, "resync", "--table", name, "--no-wait")
		c.mu.Lock()
		defer c.mu.Unlock()
		c.resyncs[r.Code]++
	})
}

func (c *chaos) summary(took time.Duration, transactions int64, rows int) {
	var b strings.Builder
	fmt.Fprintf(&b, "chaos: %s, %d source transactions, %d rows equal on both sides, 0 lost; %s\n", took.Round(time.Second), transactions, rows, c.bank.verdict)
	for _, name := range slices.Sorted(maps.Keys(c.done)) {
		fmt.Fprintf(&b, "  %-20s %4d times, followed again after at most %s\n", name, c.done[name], c.recovery[name].Round(10*time.Millisecond))
	}
	fmt.Fprintf(&b, "  resync, by exit code: %v\n  peak MB:", c.resyncs)
	for _, name := range c.names {
		fmt.Fprintf(&b, " %s %d", name, c.s.Usage(name).PeakRSS>>20)
	}
	c.t.Log(b.String())
	if os.Getenv("SEGUE_CHAOS_MINUTES") != "" {
		fmt.Println(b.String())
	}
}

func execute(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn := stacktest.Connect(t, url)
	defer func() { _ = conn.Close(context.Background()) }()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.200s: %v", sql, err)
		}
	}
}
