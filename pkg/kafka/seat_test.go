package kafka_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"segue/pkg/fault"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// person is a process that wants a seat: while it has it, it works.
type person struct {
	t    *testing.T
	seat *kafka.Seat

	mu      sync.Mutex
	working int // how often it began
	now     context.Context
	told    kafka.Standby
	err     error
}

func seatConfig(c *kafkatest.Cluster, instance string) kafka.SeatConfig {
	return kafka.SeatConfig{
		Kafka: kafka.Config{Brokers: c.Brokers()}, Group: "m.applier", Topic: "m.reader.frontier",
		Instance: instance, Owner: "applier@" + instance, Beat: 20 * time.Millisecond,
	}
}

func sit(t *testing.T, cfg kafka.SeatConfig) *person {
	t.Helper()
	seat, err := kafka.OpenSeat(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, seat: seat}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.live(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		seat.Close(context.Background())
	})
	return p
}

func (p *person) live(ctx context.Context) {
	for {
		tenure, release, err := p.seat.Take(ctx, func(s kafka.Standby) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.told = s
		})
		p.mu.Lock()
		if err != nil {
			p.err = err
			p.mu.Unlock()
			return
		}
		p.working++
		p.now = tenure
		p.mu.Unlock()
		<-tenure.Done()
		release()
	}
}

func (p *person) works() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now != nil && p.now.Err() == nil
}

func (p *person) begun() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.working
}

func (p *person) hears() kafka.Standby {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told
}

func (p *person) ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// One works, the others stand by and know who works; the seat stays where it is when others come and go.
func TestSeatOneWorksAndOthersStandBy(t *testing.T) {
	c := kafkatest.Fake(t, kafkatest.ShortSessions())
	a := sit(t, seatConfig(c, "b-first"))
	eventually(t, "the first one works", a.works)
	b, d := sit(t, seatConfig(c, "a-second")), sit(t, seatConfig(c, "c-third"))
	for _, p := range []*person{b, d} {
		eventually(t, "a standby knows who works", func() bool { return p.hears().Owner == "applier@b-first" })
		if p.works() {
			t.Error("two work")
		}
	}
	if n := a.begun(); n != 1 || !a.works() {
		t.Errorf("the one that works began %d times: others' coming is none of its business", n)
	}
	seats, err := kafka.Seats(t.Context(), kafka.Config{Brokers: c.Brokers()}, "m.applier", "m.nobody")
	if err != nil || len(seats) != 1 || seats[0].Working != "applier@b-first" || len(seats[0].Standing) != 2 ||
		!slices.Contains(seats[0].Standing, "applier@a-second") {
		t.Errorf("seats %+v, %v", seats, err)
	}
	d.seat.Close(t.Context()) // a standby goes
	a.seat.Close(t.Context()) // who works stops by itself
	left := time.Now()
	eventually(t, "the standby works", b.works)
	if took := time.Since(left); took > 3*time.Second {
		t.Errorf("took over after %s, although the seat was given free", took)
	}
}

// A process that dies leaves its seat when its session ends; one that comes back under its name takes it at once.
func TestSeatOfTheDead(t *testing.T) {
	c := kafkatest.Fake(t, kafkatest.ShortSessions())
	cfg := seatConfig(c, "a")
	cfg.Session = 400 * time.Millisecond
	a := sit(t, cfg)
	eventually(t, "the first one works", a.works)
	b := sit(t, cfg2(cfg, "b"))
	eventually(t, "the second one stands by", func() bool { return b.hears().Owner == "applier@a" })
	quiet := c.SilenceMember("a")
	eventually(t, "the second one takes over", b.works)

	// The silent one wakes up and sees that it was displaced.
	quiet.Remove()
	eventually(t, "the older one stands by", func() bool { return !a.works() && a.hears().Owner == "applier@b" })
	if n := b.begun(); n != 1 || !b.works() {
		t.Errorf("the newer one began %d times: the older one displaced it again", n)
	}
}

func TestSeatComesBackAtOnceUnderItsName(t *testing.T) {
	c := kafkatest.Fake(t, kafkatest.ShortSessions())
	cfg := seatConfig(c, "a")
	cfg.Session = 30 * time.Second
	first := sit(t, cfg)
	eventually(t, "it works", first.works)
	began := time.Now()
	second := sit(t, cfg) // the first one died, as far as the group can tell
	eventually(t, "its next life works", second.works)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it came back after %s: it waited for its own session to end", took)
	}
	// But it did not die: two processes have one name.
	eventually(t, "the older one is told", func() bool { return first.ended() != nil })
	if err := first.ended(); !errors.Is(err, kafka.ErrSameInstance) || fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" || first.works() {
		t.Errorf("got %v", err)
	}
	first.seat.Close(t.Context())
	if ours, err := second.seat.Confirm(t.Context()); err != nil || !ours {
		t.Errorf("the older one took the seat along when it ended: %v, %v", ours, err)
	}
}

// A broker that allows no session so short gets what it allows.
func TestSeatTakesTheSessionThatTheBrokerAllows(t *testing.T) {
	c := kafkatest.Fake(t, kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "9000"}))
	a := sit(t, seatConfig(c, "a"))
	eventually(t, "it works", a.works)
}

// Who works goes on while the group cannot be asked, and begins nothing new before it could be asked.
func TestSeatWithoutItsCoordinator(t *testing.T) {
	c := kafkatest.Fake(t, kafkatest.ShortSessions())
	cfg := seatConfig(c, "a")
	cfg.Session = 300 * time.Millisecond
	a := sit(t, cfg)
	eventually(t, "it works", a.works)
	quiet := c.SilenceMember("a")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if ours, err := a.seat.Confirm(ctx); ours || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("confirmed by nobody: %v, %v", ours, err)
	}
	if !a.works() {
		t.Error("it stopped its work although nobody took over")
	}
	quiet.Remove()
	if ours, err := a.seat.Confirm(t.Context()); !ours || err != nil {
		t.Errorf("it did not get its seat back: %v, %v", ours, err)
	}
	if n := a.begun(); n != 1 || !a.works() {
		t.Errorf("it began %d times", n)
	}
}

func cfg2(cfg kafka.SeatConfig, instance string) kafka.SeatConfig {
	cfg.Instance, cfg.Owner = instance, "applier@"+instance
	return cfg
}
