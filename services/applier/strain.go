package applier

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/migration"
	"segue/pkg/postgres"
	"segue/pkg/service"
)

// strain keeps the applier from adding to what a target has to do already. It looks once a second. What is being applied is finished and
// committed; nothing new is begun while a limit is passed, for up to Pause.Max: behind that the applier works for a tenth of its time, so that
// replication never stops for good.
type strain struct {
	limits  migration.Pause
	url     string
	app     string
	every   time.Duration
	log     *slog.Logger
	metrics *Metrics
	now     func() time.Time
	conn    *pgx.Conn
	hidden  bool // that the role cannot see was told

	mu      sync.Mutex
	over    string        // which limits are passed
	changed chan struct{} // closed when over changes
	since   time.Time     // since when it has been resting, on and off
}

const (
	strainEvery = time.Second
	leastRest   = time.Second
	restShare   = 9 // times as long as it has worked
)

// The reasons to rest, as the metric names them.
const (
	tooManySessions = "active_sessions"
	tooMuchLag      = "standby_lag"
)

func newStrain(cfg Config, deps Deps) *strain {
	return &strain{limits: cfg.Pause, url: cfg.Target.URL, app: cfg.Target.App, every: cmp.Or(cfg.StrainEvery, strainEvery),
		log: deps.Log, metrics: deps.Metrics, now: deps.Now, changed: make(chan struct{})}
}

// watch looks until ctx ends. What it cannot see keeps nobody waiting.
func (s *strain) watch(ctx context.Context) {
	defer s.close(ctx)
	for {
		b, err := s.look(ctx)
		if err != nil {
			s.close(ctx)
			b = postgres.Busy{}
		}
		s.judge(&b)
		if service.Sleep(ctx, s.every) != nil {
			return
		}
	}
}

func (s *strain) look(ctx context.Context) (b postgres.Busy, err error) {
	if s.conn == nil {
		if s.conn, err = postgres.Connect(ctx, s.url, s.app); err != nil {
			return b, err
		}
	}
	return postgres.ReadBusy(ctx, s.conn)
}

func (s *strain) close(ctx context.Context) {
	if s.conn != nil {
		_ = s.conn.Close(context.WithoutCancel(ctx))
		s.conn = nil
	}
}

func (s *strain) judge(b *postgres.Busy) {
	crowded := s.limits.ActiveSessions > 0 && b.ActiveSessions > s.limits.ActiveSessions
	behind := s.limits.StandbyLag > 0 && b.StandbyLag > s.limits.StandbyLag
	s.metrics.sessions.Set(float64(b.ActiveSessions))
	s.metrics.standbyLag.Set(float64(b.StandbyLag))
	for reason, yes := range map[string]bool{tooManySessions: crowded, tooMuchLag: behind} {
		v := 0.0
		if yes {
			v = 1
		}
		s.metrics.resting.WithLabelValues(reason).Set(v)
	}
	if b.Hidden && !s.hidden {
		s.hidden = true
		s.log.Warn("the role may not see other sessions: target.pause_while does not work; run GRANT pg_read_all_stats TO … on the target")
	}
	s.set(strings.Join(s.limits.Crossed(b.ActiveSessions, b.StandbyLag), "; "))
}

func (s *strain) set(over string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over == over {
		return
	}
	switch {
	case s.over == "":
		s.log.Info("the applier rests until the target has less to do", "over", over)
		s.since = s.now()
	case over == "":
		s.log.Info("the applier goes on", "rested_for", s.now().Sub(s.since).Round(time.Millisecond).String())
	}
	s.over = over
	close(s.changed)
	s.changed = make(chan struct{})
}

// state is what is over now, since when, and a channel that is closed when that changes.
func (s *strain) state() (over string, since time.Time, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over, s.since, s.changed
}

// rest waits in front of a transaction while the target has too much to do: for the rest of Pause.Max, behind that for nine times as long as
// the last one took.
func (a *Applier) rest(ctx context.Context, worked time.Duration) error {
	over, since, changed := a.strain.state()
	if over == "" {
		return nil
	}
	begun := a.deps.Now()
	pause := a.cfg.Pause.Max - begun.Sub(since)
	how := ", at the most for " + a.cfg.Pause.Max.String()
	if pause <= 0 {
		pause, how = max(restShare*worked, leastRest), ", and works for a tenth of the time"
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	defer a.waits("")
	for over != "" {
		a.waits("until the target has less to do" + how + ": " + over)
		select {
		case <-timer.C:
			return nil
		case <-changed:
			over, _, changed = a.strain.state()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
