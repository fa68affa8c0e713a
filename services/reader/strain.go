package reader

import (
	"context"
	"log/slog"

	"segue/pkg/postgres"
	"segue/pkg/service"
)

// strain keeps the load from adding to what a source has to do already (promise P9). It looks once a second; what is being read is finished,
// nothing new is begun while a limit is passed. The stream goes on all the while.
type strain struct {
	desk     *desk
	busy     func(ctx context.Context) (postgres.Busy, error)
	sessions int   // more active sessions of others than this; 0: no limit
	lag      int64 // a standby that is more bytes behind than this; 0: no limit
	log      *slog.Logger
	metrics  *metrics
	resting  bool
	told     bool // that the role cannot see
}

// The reasons to wait, as the metric names them.
const (
	tooManySessions = "active_sessions"
	tooMuchLag      = "standby_lag"
)

func (s *strain) watches() bool { return s.sessions > 0 || s.lag > 0 }

func (s *strain) watch(ctx context.Context) error {
	for {
		if s.desk.reading() || s.resting {
			b, err := s.busy(ctx)
			if err != nil {
				return err
			}
			s.judge(&b)
		}
		if err := service.Sleep(ctx, snapshotEvery); err != nil {
			return err
		}
	}
}

func (s *strain) judge(b *postgres.Busy) {
	crowded := s.sessions > 0 && b.ActiveSessions > s.sessions
	behind := s.lag > 0 && b.StandbyLag > s.lag
	s.metrics.busy(b, crowded, behind)
	if b.Hidden && !s.told {
		s.told = true
		s.log.Warn("the role may not see other sessions: the load's limits for active sessions and standbys do not work; run GRANT pg_read_all_stats TO … on the source")
	}
	if rests := crowded || behind; rests != s.resting {
		s.resting = rests
		s.desk.rest(rests)
		say := "the load goes on"
		if rests {
			say = "the load waits until the source has less to do"
		}
		s.log.Info(say, "active_sessions", b.ActiveSessions, "standby_lag_bytes", b.StandbyLag)
	}
}
