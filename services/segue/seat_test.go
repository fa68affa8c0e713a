package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/config"
	"segue/pkg/fault"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/service"
)

// colleague is a process of the applier, whose work the test decides about.
type colleague struct {
	t       *testing.T
	w       *work
	group   *service.Group
	begins  chan struct{} // a tenure began
	results chan error    // how it ends; a tenure that is lost ends by itself
	ended   chan error
	metrics *prometheus.Registry
	stop    context.CancelFunc
}

func newColleague(t *testing.T, c *kafkatest.Cluster, instance string) *colleague {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, cancel := context.WithCancel(context.Background())
	registry := prometheus.NewRegistry()
	co := &colleague{
		metrics: registry,
		t:       t, group: service.NewGroup(log), stop: cancel,
		begins: make(chan struct{}, 100), results: make(chan error), ended: make(chan error, 1),
		w: &work{
			spec: &migration.Spec{Name: "m"}, servers: &surroundings{kafka: kafka.Config{Brokers: c.Brokers()}}, stages: config.Fused,
			owner: "applier@" + instance, instance: instance, seats: newSeats(), log: log, meters: newMeters(registry),
		},
	}
	co.group.Add("applier", co.w.patient(co.w.seated(serviceApplier, co.run)))
	co.group.Add("trimmer", co.w.beside(serviceApplier, func(ctx context.Context, s *service.Status) error {
		s.Ready()
		<-ctx.Done()
		return ctx.Err()
	}))
	go func() {
		err := co.group.Run(ctx)
		co.w.leaveAll(ctx)
		co.ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-co.ended:
		case <-time.After(time.Minute):
			t.Error("it does not end")
		}
	})
	return co
}

func (co *colleague) run(ctx context.Context, s *service.Status) error {
	s.Ready()
	co.begins <- struct{}{}
	select {
	case err := <-co.results:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// standby is what the metric says.
func (co *colleague) standby() float64 {
	co.t.Helper()
	families, err := co.metrics.Gather()
	if err != nil {
		co.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "segue_standby" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

func (co *colleague) awaitBegin() {
	co.t.Helper()
	select {
	case <-co.begins:
	case err := <-co.ended:
		co.t.Fatalf("it ended: %v", err)
	case <-time.After(time.Minute):
		co.t.Fatalf("it did not begin: %+v", co.group.States())
	}
}

// is waits until both components are in the phase.
func (co *colleague) is(phase service.Phase) service.State {
	co.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		states := co.group.States()
		if states[0].Phase == phase && states[1].Phase == phase {
			return states[0]
		}
		if time.Now().After(deadline) {
			co.t.Fatalf("not %s: %+v", phase, states)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestOneWorksAndTheOtherStandsBy(t *testing.T) {
	c := kafkatest.Fake(t)
	a := newColleague(t, c, "a")
	a.awaitBegin()
	a.is(service.Ready)
	b := newColleague(t, c, "b")
	if s := b.is(service.Standby); s.Waiting != "applier@a is working" {
		t.Errorf("it says %+v", s)
	}
	if a, b := a.standby(), b.standby(); a != 0 || b != 1 {
		t.Errorf("segue_standby is %v and %v", a, b)
	}
	b.w.plan = &plan{} // as if it had worked before

	// A transient error is tried again in the same seat.
	a.results <- fault.Transient(errors.New("target: connect: refused"))
	a.awaitBegin()
	if len(b.begins) > 0 {
		t.Fatal("the other one took over for an error that passes")
	}
	// A database that refuses who it has let in before is waited for likewise: the other one was never let in, and would stop for good.
	_, err := postgres.Connect(t.Context(), pgtest.Database(t)+"&user=nobody_at_all", "segue test")
	if !postgres.Refused(err) {
		t.Fatal(err)
	}
	a.w.letIn = true
	a.results <- err
	a.awaitBegin()
	if len(b.begins) > 0 {
		t.Fatal("the other one took over for a database that will let in again")
	}
	// Somebody claimed who has no seat: this one claims again.
	a.results <- fault.Fatal(fmt.Errorf("write: %w", kafka.ErrSuperseded), "")
	a.awaitBegin()
	if len(b.begins) > 0 {
		t.Fatal("the other one took over although the seat was not free")
	}
	// An error that does not pass: the seat is free at once.
	a.results <- fault.Fatal(errors.New("schema changed"), "")
	b.awaitBegin()
	b.is(service.Ready)
	if b.w.plan != nil {
		t.Error("its new life begins with what a former one had read of the catalogs")
	}
	if s := b.standby(); s != 0 {
		t.Errorf("segue_standby is %v while it works", s)
	}
}

// Who was silent for too long is displaced, and meets that in the truth first: it stands by, and works again in its turn.
func TestADisplacedProcessStandsBy(t *testing.T) {
	for name, meets := range map[string]error{
		"a later claim":                         fault.Fatal(fmt.Errorf("write: %w", kafka.ErrSuperseded), ""),
		"another owner of the progress row":     fault.Fatal(fmt.Errorf("apply: %w", pgtarget.ErrTakenOver), ""),
		"a slot that was taken away, and so on": fault.Transient(errors.New("stream: connection reset")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := kafkatest.Fake(t, kafkatest.ShortSessions())
			a := newColleague(t, c, "a")
			a.awaitBegin()
			b := newColleague(t, c, "b")
			b.is(service.Standby)
			silent := c.SilenceMember("a")
			b.awaitBegin()
			if s := a.group.States()[0]; s.Phase != service.Ready {
				t.Errorf("it stopped before it knew of its displacement: %+v", s)
			}
			a.results <- meets
			silent.Remove()
			a.is(service.Standby)
			if len(a.begins) > 0 || len(b.begins) > 0 {
				t.Error("they displace each other")
			}
			b.stop()
			a.awaitBegin()
		})
	}
}

func TestInstanceIsTheSameInEachLife(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" :/@", r) {
			return '-'
		}
		return r
	}, host)
	pid := fmt.Sprintf("%s-p%d", host, os.Getpid())
	for _, c := range []struct{ instance, listen, want string }{
		{"mine", "127.0.0.1:7070", "mine"},
		{"", "127.0.0.1:7070", host + "-7070"},
		{"", ":8080", host + "-8080"},
		{"", "127.0.0.1:0", pid},
		{"", "", pid},
	} {
		if got := newInstance(&config.Settings{Instance: c.instance, Listen: c.listen}); got != c.want {
			t.Errorf("SEGUE_INSTANCE %q, SEGUE_LISTEN %q: %q, want %q", c.instance, c.listen, got, c.want)
		}
	}
}
