package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"segue/pkg/config"
	"segue/pkg/fault"
	"segue/pkg/kafka"
	"segue/pkg/pgtarget"
	"segue/pkg/service"
)

// Several processes of one service may run: one works, the others stand by. Who works is settled in the service's consumer group
// (package kafka, Seat); what keeps two that both believe to work apart are claims, the slot and the progress row. A process that brings its own
// Kafka has it, and so the seat, to itself.

// seats are the seats of this process, by service.
type seats struct {
	mu   sync.Mutex
	open map[string]*kafka.Seat
	work map[string]context.Context // the present tenures
	news chan struct{}              // closed when a tenure begins, and made anew
}

func newSeats() *seats {
	return &seats{open: map[string]*kafka.Seat{}, work: map[string]context.Context{}, news: make(chan struct{})}
}

// seated runs a service while its seat is this process's, and stands by otherwise. Each tenure is a new life: nothing of a former one is used.
func (w *work) seated(name string, run service.Run) service.Run {
	if w.servers.embedded != nil {
		return run
	}
	run = w.patient(run) // before the seat is given free: who waits stays in it, for a standby that was never let in would stop
	return func(ctx context.Context, status *service.Status) error {
		seat, err := w.seat(name)
		if err != nil {
			return err
		}
		err = w.tenures(ctx, name, seat, status, run)
		if ctx.Err() == nil && fault.ClassOf(err) == fault.ClassTransient {
			return err // it is tried again here, in the same seat
		}
		w.leave(ctx, name)
		return err
	}
}

func (w *work) tenures(ctx context.Context, name string, seat *kafka.Seat, status *service.Status, run service.Run) error {
	for {
		stood := false
		tenure, release, err := seat.Take(ctx, func(now kafka.Standby) {
			stood = w.stands(name, status, now) || stood
		})
		if err != nil {
			return err
		}
		if stood {
			status.Wait("to take over")
			w.forget() // what was read of both catalogs before may be old
			w.log.Info("takes over", "service", name)
		}
		w.meters.standby.WithLabelValues(name).Set(0)
		w.seats.begin(tenure, name)
		err = run(tenure, status)
		lost := tenure.Err() != nil
		release()
		switch {
		case ctx.Err() != nil:
			return err
		case lost:
			w.log.Warn("another process of this service has taken over", "service", name, "ended_with", fmt.Sprint(err))
			w.forget()
		case !displaced(err):
			return err
		default:
			status.Wait("for its consumer group, to ask who works")
			if ours, asked := seat.Confirm(ctx); asked != nil || ours {
				// Somebody without a seat, or an older process's claim that was long on its way. Whoever it is: this one claims again.
				return errors.Join(asked, fault.Transient(fmt.Errorf("%w; the seat is still this process's: it begins again behind what counts", err)))
			}
			w.log.Warn("another process of this service has taken over", "service", name, "error", err.Error())
			w.forget()
		}
	}
}

// displaced says whether an error means that another process has taken over, in the truth that it was found in.
func displaced(err error) bool {
	return errors.Is(err, kafka.ErrSuperseded) || errors.Is(err, pgtarget.ErrTakenOver)
}

// stands shows what a process without its seat waits for, and says whether it is another that works.
func (w *work) stands(name string, status *service.Status, now kafka.Standby) bool {
	switch {
	case now.Err != nil:
		status.Wait("for its consumer group: " + now.Err.Error())
	case now.Owner == "":
		status.Wait("for its seat in the consumer group " + w.spec.Name.Group(name))
	default:
		if status.State().Phase != service.Standby {
			w.log.Info("stands by", "service", name, "working", now.Owner)
		}
		status.Standby(now.Owner)
		w.meters.standby.WithLabelValues(name).Set(1)
		return true
	}
	return false
}

// seat opens a service's seat at the first call.
func (w *work) seat(name string) (*kafka.Seat, error) {
	w.seats.mu.Lock()
	defer w.seats.mu.Unlock()
	if s := w.seats.open[name]; s != nil {
		return s, nil
	}
	s, err := kafka.OpenSeat(kafka.SeatConfig{
		Kafka: w.servers.kafka, Group: w.spec.Name.Group(name), Topic: w.spec.Name.FrontierTopic(w.input(name)),
		Instance: w.instance, Owner: w.owner,
	})
	if err == nil {
		w.seats.open[name] = s
	}
	return s, err
}

// input is the stage whose frontier topic a service follows; the reader has its own.
func (w *work) input(name string) string {
	switch {
	case name == stageDeduplicator:
		return stageTransformer
	case name == serviceApplier && w.stages == config.Staged:
		return stageDeduplicator
	}
	return stageReader
}

const serviceApplier = "applier"

// leaveWithin bounds how long an end waits for the group.
const leaveWithin = 3 * time.Second

// leave gives a seat free once the work is over, so that a standby takes over at once.
func (w *work) leave(ctx context.Context, name string) {
	w.seats.mu.Lock()
	s := w.seats.open[name]
	delete(w.seats.open, name)
	w.seats.mu.Unlock()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	s.Close(ctx)
}

// leaveAll gives free what a service that was waiting to be tried again still had.
func (w *work) leaveAll(ctx context.Context) {
	for _, name := range []string{stageReader, stageTransformer, stageDeduplicator, serviceApplier} {
		w.leave(ctx, name)
	}
}

func (s *seats) begin(tenure context.Context, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work[name] = tenure
	close(s.news)
	s.news = make(chan struct{})
}

// beside runs something while this process has the seat of a service.
func (w *work) beside(name string, run service.Run) service.Run {
	if w.servers.embedded != nil {
		return run
	}
	return func(ctx context.Context, status *service.Status) error {
		for {
			w.seats.mu.Lock()
			tenure, news := w.seats.work[name], w.seats.news
			w.seats.mu.Unlock()
			if tenure != nil && tenure.Err() == nil {
				run := func(ctx context.Context) error { return run(ctx, status) }
				if err := during(ctx, tenure, run); err != nil || ctx.Err() != nil {
					return err
				}
				continue
			}
			status.Standby("the " + name + " of another process")
			select {
			case <-news:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// during runs something until ctx or the tenure ends. The end of the tenure is no error.
func during(ctx, tenure context.Context, run func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(tenure, cancel)()
	err := run(inner)
	if tenure.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// newInstance is what this process is called over all its lives: what its settings say, else host name and port, which no other living process
// has at the same time. Without a port of its own it has another name in each life, and a life after a kill waits until the former is
// known to be dead.
func newInstance(s *config.Settings) string {
	if s.Instance != "" {
		return s.Instance
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	_, port, err := net.SplitHostPort(s.Listen)
	if err != nil || port == "" || port == "0" {
		port = "p" + strconv.Itoa(os.Getpid())
	}
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || ('0' <= r && r <= '9') || ('a' <= r && r <= 'z') || ('A' <= r && r <= 'Z') {
			return r
		}
		return '-'
	}, host+"-"+port)
}

// streamApp is the application_name of the reader's stream: with a part that only processes on the same Kafka have, because only among
// those does the seat say that the others do not work. Empty: no seat, nobody may be ended.
func (w *work) streamApp(ctx context.Context) (string, error) {
	if w.servers.embedded != nil {
		return "", nil
	}
	admin, err := kafka.OpenAdmin(w.servers.kafka)
	if err != nil {
		return "", err
	}
	defer admin.Close()
	cluster, err := admin.Cluster(ctx)
	if err != nil || cluster == "" {
		return "", err
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(cluster))
	return fmt.Sprintf("%s@%08x", w.spec.Name.ApplicationName(stageReader), h.Sum32()), nil
}
