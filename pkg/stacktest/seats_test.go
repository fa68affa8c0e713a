package stacktest_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"segue/pkg/stacktest"
)

const (
	pairRows = 20_000
	patience = 60 * time.Second
)

// pair is a service with its two processes: one works, the other stands by.
type pair struct {
	working, standing string
}

func (p *pair) swap() { p.working, p.standing = p.standing, p.working }

// several starts a staged stack with two processes of each of the four services, under traffic.
func several(t *testing.T) (*stacktest.Stack, []*pair, func() int64) {
	t.Helper()
	s := shop(t, stacktest.Staged, pairRows)
	stop := traffic(t, s, pairRows, 200)
	s.Start(t, "reader", "transformer", "deduplicator", "applier")
	var pairs []*pair
	for _, name := range []string{"reader", "transformer", "deduplicator", "applier"} {
		s.Becomes(t, name, "ready", patience)
		pairs = append(pairs, &pair{name, name + "#2"})
	}
	for _, p := range pairs {
		s.Start(t, p.standing)
	}
	for _, p := range pairs {
		says := s.Becomes(t, p.standing, "standby", patience)
		if !strings.HasPrefix(says.Waiting, p.working+"@") || !strings.HasSuffix(says.Waiting, " is working") {
			t.Errorf("%s says %+v", p.standing, says)
		}
		if now, err := s.State(t.Context(), p.working); err != nil || now.Phase != "ready" {
			t.Errorf("%s says %+v when another process comes: %v", p.working, now, err)
		}
	}
	return s, pairs, stop
}

// rounds is how often the zombies rise: once by default, more with SEGUE_ZOMBIES.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SEGUE_ZOMBIES")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("SEGUE_ZOMBIES: %v", err)
	}
	return n
}

// P1, P4: a process of each service is stopped in the middle of its work, wherever that is, another one takes over, and the stopped one goes
// on as if nothing had happened: nothing that it writes counts, and it stands by.
func TestRealZombies(t *testing.T) {
	s, pairs, stop := several(t)
	for round := range rounds(t) {
		var took sync.Map
		var wg sync.WaitGroup
		wg.Go(func() { // a transaction of several frontiers: some of them stop in the middle of it
			<-time.After(time.Duration(rand.IntN(1000)) * time.Millisecond)
			if err := s.Execute(t.Context(), "UPDATE public.order_lines SET quantity = quantity + 1"); err != nil {
				t.Error(err)
			}
		})
		for _, p := range pairs {
			wg.Go(func() {
				<-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond) // the moment is random, that is the point
				began := time.Now()
				s.Freeze(t, p.working)
				s.Becomes(t, p.standing, "ready", patience)
				took.Store(p.working, time.Since(began))
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		s.Says(t, pairs[0].standing, "took the slot from the former reader", patience)
		s.Passed(t, s.Marker(t), calm, func(p stacktest.Progress) bool { return p.Passed })
		for _, i := range rand.Perm(len(pairs)) {
			s.Thaw(t, pairs[i].working)
		}
		for _, p := range pairs {
			if says := s.Becomes(t, p.working, "standby", patience); !strings.Contains(says.Waiting, " is working") {
				t.Errorf("the zombie %s says %+v", p.working, says)
			}
			if now, err := s.State(t.Context(), p.standing); err != nil || now.Phase != "ready" {
				t.Errorf("%s says %+v once the zombie is back: %v", p.standing, now, err)
			}
			p.swap()
		}
		took.Range(func(name, d any) bool {
			t.Logf("round %d: %s was stopped, the other one worked %s later", round, name, short(d.(time.Duration)))
			return true
		})
	}
	ended(t, s, stop)
}

// P4: an applier is stopped with a transaction open on the target. The next one ends it there, and the zombie's commit fails.
func TestRealZombieInsideATransaction(t *testing.T) {
	s := shop(t, stacktest.Fused, 5_000)
	s.Start(t, "reader", "applier")
	s.Applied(t, calm)
	s.Start(t, "applier#2")
	s.Becomes(t, "applier#2", "standby", patience)
	conn, other := stacktest.Connect(t, s.Target), stacktest.Connect(t, s.Target)
	lock, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "LOCK TABLE crm.customer IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	if err := s.Execute(t.Context(), "UPDATE public.customers SET country = 'NZ' WHERE id % 7 = 0; UPDATE public.notes SET author = 'zombie'"); err != nil {
		t.Fatal(err)
	}
	open := func() (pid int32) { // the backend whose transaction waits for the lock
		err := conn.QueryRow(t.Context(), `SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
			AND xact_start IS NOT NULL AND application_name LIKE 'segue%applier'`).Scan(&pid)
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	var stuck int32
	for deadline := time.Now().Add(calm); stuck == 0; stuck = open() {
		if err := s.Running(); err != nil || time.Now().After(deadline) {
			t.Fatalf("no transaction waits for the lock: %v", err)
		}
	}
	s.Freeze(t, "applier")
	if still := open(); still != stuck {
		t.Fatalf("its transaction is over: backend %d, now %d", stuck, still)
	}
	s.Becomes(t, "applier#2", "ready", patience)
	if now := open(); now == stuck {
		t.Errorf("the zombie's backend %d still has its transaction open", now)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Applied(t, calm)
	before := s.Compare(t, shopPairs())
	s.Thaw(t, "applier")
	s.Becomes(t, "applier", "standby", patience)
	s.Applied(t, calm)
	if after := s.Compare(t, shopPairs()); after != before {
		t.Errorf("%d rows, %d before the zombie came back", after, before)
	}
}

// ended stops the traffic and holds both stores against each other.
func ended(t *testing.T, s *stacktest.Stack, stop func() int64) {
	t.Helper()
	if n := stop(); n < 100 {
		t.Errorf("only %d transactions were committed meanwhile", n)
	}
	s.Applied(t, calm)
	t.Logf("%d rows are equal", s.Compare(t, shopPairs()))
}

// A service goes on whether its process dies, ends by itself or comes back; the log has the figures.
func TestRealTakeover(t *testing.T) {
	s, pairs, stop := several(t)
	var wg sync.WaitGroup
	for _, p := range pairs {
		wg.Go(func() { takeover(t, s, p) })
	}
	wg.Wait()
	ended(t, s, stop)
}

func takeover(t *testing.T, s *stacktest.Stack, p *pair) {
	began := time.Now()
	s.Kill(t, p.working)
	s.Becomes(t, p.standing, "ready", patience)
	dead := time.Since(began)
	s.Start(t, p.working)
	s.Becomes(t, p.working, "standby", patience)

	began = time.Now()
	s.Stop(t, p.standing)
	drained := time.Since(began)
	s.Becomes(t, p.working, "ready", patience)
	ended := time.Since(began)

	began = time.Now()
	s.Kill(t, p.working)
	s.Start(t, p.working)
	s.Becomes(t, p.working, "ready", patience)
	t.Logf("%-13s after SIGKILL of the other %s, after SIGTERM %s (of which it drained %s), itself after SIGKILL %s", p.working,
		short(dead), short(ended), short(drained), short(time.Since(began)))
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
