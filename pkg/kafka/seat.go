package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/fault"
)

// SeatConfig says which seat, and as whom.
type SeatConfig struct {
	Kafka Config
	// Group is the consumer group of the service, Topic the frontier topic whose one partition stands for the seat.
	Group, Topic string
	// Instance names this process over all its lives: a process that comes back under it need not wait for its own death to be noticed.
	Instance string
	Owner    string // this life, for people
	// Session is how long a process may be silent and keep its seat (4 s); a broker that allows none so short gets what it allows.
	Session time.Duration
	// Beat is how often a process tells that it lives, and hears that the seat is free (300 ms).
	Beat time.Duration
}

// ErrSameInstance says that another process has joined under this one's name.
var ErrSameInstance = errors.New("another process has the same name")

// Seat is a process's place in the consumer group of its service: of all members one has the group's only partition, and works; the
// others stand by. It is manners, never safety: what keeps two processes apart are claims, the slot and the progress row. So a process that
// works goes on where the group cannot be asked, and only the beginning of work wants a seat that is certain.
type Seat struct {
	cfg    SeatConfig
	client *kgo.Client
	cancel context.CancelFunc
	ended  chan struct{}
	poke   chan struct{} // a heartbeat is wanted now

	// Of the goroutine that keeps the seat.
	session    time.Duration
	member     string
	generation int32
	seated     int32 // the last generation in which the seat was ours, -1: it is not
	fenced     bool  // another process has joined under this one's name

	mu      sync.Mutex
	now     seating
	changed chan struct{} // closed at each change, and made anew
	closed  bool
}

// seating is what is known of the seat.
type seating struct {
	told   Standby
	tenure context.Context // nil: the seat is not ours; ends when it is lost
	leave  context.CancelFunc
	until  time.Time // up to here the group cannot have given it to anybody else
	failed error     // for good
}

// sure says that nobody else can have the seat now. The wall clock counts too: the monotonic one stands still while a machine is suspended.
func (n *seating) sure() bool {
	now := time.Now()
	return n.tenure != nil && now.Before(n.until) && now.Round(0).Before(n.until.Round(0))
}

// Standby is what a process that waits for its seat knows.
type Standby struct {
	Owner string // who works; empty: nobody is known yet
	Err   error  // why the group cannot be asked, nil where it can
}

// OpenSeat joins the group in the background: Take waits for what comes of it.
func OpenSeat(cfg SeatConfig) (*Seat, error) {
	client, err := cfg.Kafka.client()
	if err != nil {
		return nil, err
	}
	cfg.Session, cfg.Beat = orDefault(cfg.Session, 4*time.Second), orDefault(cfg.Beat, 300*time.Millisecond)
	s := &Seat{
		cfg: cfg, client: client, ended: make(chan struct{}), poke: make(chan struct{}, 1),
		session: cfg.Session, seated: none, changed: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.ended)
		s.keep(ctx)
	}()
	return s, nil
}

// Take waits for the seat and returns a context that ends with ctx, at release, or when the seat is lost. told hears what it waits for. A seat that
// is ours, but of which the group has heard nothing for a session (the process was stopped meanwhile, or the group cannot be reached), is
// asked for again first.
func (s *Seat) Take(ctx context.Context, told func(Standby)) (tenure context.Context, release func(), err error) {
	for {
		now, changed := s.look()
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case now.failed != nil:
			return nil, nil, now.failed
		case now.sure():
			tenure, release := context.WithCancel(ctx)
			stop := context.AfterFunc(now.tenure, release)
			return tenure, func() { stop(); release() }, nil
		case now.tenure != nil:
			signal(s.poke)
			if now.told.Err != nil {
				told(now.told)
			}
		default:
			told(now.told)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// Confirm asks the group, whatever was known, and says whether the seat is ours.
func (s *Seat) Confirm(ctx context.Context) (bool, error) {
	s.update(func(n *seating) { n.until = time.Time{} })
	for {
		now, changed := s.look()
		switch {
		case now.failed != nil:
			return false, now.failed
		case now.tenure == nil:
			return false, nil
		case now.sure():
			return true, nil
		}
		signal(s.poke)
		select {
		case <-changed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func (s *Seat) look() (seating, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.changed
}

func (s *Seat) update(f func(*seating)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.now)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Close gives the seat free, so that another process takes it at once. Closing twice is fine.
func (s *Seat) Close(ctx context.Context) {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return
	}
	s.cancel()
	<-s.ended
	s.unseat(Standby{})
	s.depart(ctx)
	s.client.Close()
}

// keep joins and attends until ctx ends or the group refuses this process for good.
func (s *Seat) keep(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.join(ctx)
		if err == nil {
			err = s.attend(ctx)
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		if fault.ClassOf(err) != fault.ClassTransient {
			s.unseat(Standby{Err: err})
			s.update(func(n *seating) { n.failed = err })
			return
		}
		s.update(func(n *seating) { n.told.Err = err }) // who works goes on
		pause(ctx, s.cfg.Beat)
	}
}

// attend tells the group that this process lives, until the group wants everybody to join again (nil), or cannot be asked.
func (s *Seat) attend(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-s.poke:
		}
		sent := time.Now()
		again, err := s.beat(ctx)
		switch {
		case err != nil && fault.ClassOf(err) == fault.ClassTransient && ctx.Err() == nil:
			s.update(func(n *seating) { n.told.Err = err })
			pause(ctx, s.cfg.Beat)
		case err != nil || again:
			return err
		default:
			s.update(func(n *seating) { n.told.Err, n.until = nil, sent.Add(s.session) })
		}
	}
}

// settled enters what the group has decided, in an answer to what was sent at that time.
func (s *Seat) settled(ours bool, owner string, sent time.Time) {
	if !ours {
		s.seated = none
		s.unseat(Standby{Owner: owner})
		return
	}
	s.seated = s.generation
	s.update(func(n *seating) {
		n.told, n.until = Standby{Owner: s.cfg.Owner}, sent.Add(s.session)
		if n.tenure == nil {
			n.tenure, n.leave = context.WithCancel(context.Background())
		}
	})
}

// unseat ends the work that the seat was for.
func (s *Seat) unseat(told Standby) {
	s.update(func(n *seating) {
		if n.leave != nil {
			n.leave()
		}
		n.told, n.tenure, n.leave = told, nil, nil
	})
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
