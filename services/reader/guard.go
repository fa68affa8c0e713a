package reader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/fault"
	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
	"segue/pkg/service"
)

// GuardConfig says which slot is looked after, and by which thresholds.
type GuardConfig struct {
	URL, App, Slot string
	Protect        migration.Protect
	Every          time.Duration // between two looks (1 s)
}

// Guard protects the source from the slot (promise P9): it looks at the slot on a connection of its own, beside whatever the reader does or waits
// for. That Kafka takes nothing is just when a slot holds back the log, and when the reader stands still.
type Guard struct {
	cfg     GuardConfig
	log     *slog.Logger
	metrics *metrics

	crossed map[string]bool // by the threshold's key: told, and not below since
	slack   int64           // bytes above the limit that a start found and may work off
	looked  bool
	idle    time.Time // since when nobody reads; zero: somebody does
}

// guardTimeout bounds one look, and each step of an act.
const guardTimeout = 10 * time.Second

// dropWithin bounds how long the slot's reader may take to let go, before the server ends it.
const dropWithin = 30 * time.Second

// NewGuard connects to nothing. It is made once per process: it remembers what was told.
func NewGuard(cfg GuardConfig, log *slog.Logger, reg prometheus.Registerer) *Guard {
	cfg.Every = orDefault(cfg.Every, snapshotEvery)
	g := &Guard{cfg: cfg, log: log, metrics: newMetrics(reg), crossed: map[string]bool{}}
	g.metrics.limit.Set(float64(cfg.Protect.MaxRetainedWAL))
	return g
}

// LimitError says that a limit was crossed.
type LimitError struct{ Crossing migration.Crossing }

func (e *LimitError) Error() string { return e.Crossing.String() }

// While runs the reader and looks at the slot meanwhile. A limit that acts ends the reader, whatever it waits for, and then the slot
// where that is asked.
func (g *Guard) While(ctx context.Context, run func(ctx context.Context) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := g.watch(inner); err != nil {
			cancel(err)
		}
	}()
	err := run(inner)
	cancel(nil)
	<-done
	var limit *LimitError
	if !errors.As(context.Cause(inner), &limit) {
		return err
	}
	return g.act(ctx, limit)
}

// watch returns with the first limit that acts. A source that cannot be asked is the reader's to tell.
func (g *Guard) watch(ctx context.Context) error {
	var conn *pgx.Conn
	defer func() { closeConn(ctx, conn) }()
	for {
		state, err := g.look(ctx, &conn)
		if err == nil {
			if err := g.weigh(&state, time.Now()); err != nil {
				return err
			}
		} else if ctx.Err() == nil {
			closeConn(ctx, conn)
			conn = nil
			g.log.Debug("the slot could not be looked at", "error", err.Error())
		}
		if service.Sleep(ctx, g.cfg.Every) != nil {
			return nil
		}
	}
}

func (g *Guard) look(ctx context.Context, conn **pgx.Conn) (pgsource.SlotState, error) {
	ctx, cancel := context.WithTimeout(ctx, guardTimeout)
	defer cancel()
	if *conn == nil {
		c, err := postgres.Connect(ctx, g.cfg.URL, g.cfg.App)
		if err != nil {
			return pgsource.SlotState{}, err
		}
		*conn = c
	}
	return pgsource.Inspect(ctx, *conn, g.cfg.Slot)
}

// weigh tells of each threshold once when it is crossed and once when that is over, and returns the limit that acts.
func (g *Guard) weigh(s *pgsource.SlotState, now time.Time) error {
	if !s.Exists || s.WALStatus == "lost" {
		return nil // it holds nothing back
	}
	if s.Active {
		g.idle = time.Time{}
	} else if g.idle.IsZero() {
		g.idle = now
	}
	inactive := s.Inactive
	if !g.idle.IsZero() {
		inactive = max(inactive, now.Sub(g.idle))
	}
	p := g.cfg.Protect
	if !g.looked && p.OnLimit == migration.OnLimitStop && p.MaxRetainedWAL > 0 && s.RetainedBytes > p.MaxRetainedWAL {
		// Who starts above the limit means to work it off: it stops where that goes wrong.
		g.slack = s.RetainedBytes - p.MaxRetainedWAL + p.MaxRetainedWAL/10
	}
	g.looked = true
	crossed := p.Crossed(s.RetainedBytes, s.CatalogXminAge, inactive)
	g.tell(crossed)
	g.metrics.guarded(s, inactive, crossed)
	for i := range crossed {
		c := &crossed[i]
		if c.Acts && p.OnLimit != migration.OnLimitWarn && (c.Key != "max_retained_wal" || c.Is > c.Limit+g.slack) {
			return &LimitError{Crossing: *c}
		}
	}
	return nil
}

func (g *Guard) tell(crossed []migration.Crossing) {
	now := map[string]bool{}
	for i := range crossed {
		c := &crossed[i]
		now[c.Key] = true
		if !g.crossed[c.Key] {
			g.log.Warn(c.String(), "slot", g.cfg.Slot, "threshold", c.Key)
		}
	}
	for key := range g.crossed {
		if !now[key] {
			g.log.Info("the slot is below the threshold again", "slot", g.cfg.Slot, "threshold", key)
		}
	}
	g.crossed = now
}

// act does what the limit asks for, now that the reader has stopped.
func (g *Guard) act(ctx context.Context, limit *LimitError) error {
	if g.cfg.Protect.OnLimit != migration.OnLimitDrop {
		return fault.Fatal(fmt.Errorf("%w: the reader stopped (protect.on_limit: stop); no data is at risk yet, but slot %s still holds the log, and the source's disk may fill", limit, g.cfg.Slot),
			"mend what keeps Kafka from taking changes and start again: the reader then works it off; to free the source's disk at once give the slot up, "+
				"which means to read all tables again: segue source finish, later segue run reader --new-history (or run all)")
	}
	g.log.Warn("dropping the slot to save the source: the migration has to read all tables again", "slot", g.cfg.Slot, "threshold", limit.Crossing.Key)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropWithin+guardTimeout)
	defer cancel()
	if err := g.drop(ctx); err != nil {
		return fault.Fatal(fmt.Errorf("%w: the slot was to be dropped (protect.on_limit: drop), but it is still there, and the source's disk may fill: %w", limit, err),
			"run on the source: SELECT pg_drop_replication_slot('"+g.cfg.Slot+"');")
	}
	return fault.Fatal(fmt.Errorf("%w: slot %s was dropped to save the source (protect.on_limit: drop); changes since then are in no stream, the target stays where it is", limit, g.cfg.Slot),
		"the source is whole; mend what kept Kafka from taking changes, then read all tables again: segue run reader --new-history (or run all)")
}

// drop waits until the reader's sender is gone, and ends it where it stays.
func (g *Guard) drop(ctx context.Context) error {
	conn, err := postgres.Connect(ctx, g.cfg.URL, g.cfg.App)
	if err != nil {
		return err
	}
	defer func() { closeConn(ctx, conn) }()
	patience := time.Now().Add(dropWithin / 3)
	for {
		err := pgsource.DropSlot(ctx, conn, g.cfg.Slot)
		if err == nil || postgres.SQLState(err) != "55006" {
			return err
		}
		if time.Now().After(patience) {
			if err := pgsource.EndReader(ctx, conn, g.cfg.Slot); err != nil {
				return err
			}
		}
		if serr := service.Sleep(ctx, 50*time.Millisecond); serr != nil {
			return err
		}
	}
}

func closeConn(ctx context.Context, c *pgx.Conn) {
	if c != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), guardTimeout)
		defer cancel()
		_ = c.Close(ctx)
	}
}
