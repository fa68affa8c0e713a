package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// LSN is a place in the source's log; it prints as PostgreSQL does.
type LSN uint64

func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// MarshalText is String, for JSON.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

const sourceSQL = `
SELECT clock_timestamp(), (l.lsn - '0/0')::bigint, s.slot_name IS NOT NULL, coalesce(s.active, false),
       coalesce(s.confirmed_flush_lsn - '0/0', 0)::bigint, coalesce(l.lsn - s.restart_lsn, 0)::bigint, coalesce(s.wal_status, ''), s.safe_wal_size
FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn) l
LEFT JOIN pg_replication_slots s ON s.slot_name = $1`

func readSource(ctx context.Context, c Config) (s Source, err error) {
	conn, err := postgres.Connect(ctx, string(c.Spec.Source.Postgres), c.Spec.Name.ApplicationName("status"))
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	s.Slot = c.Spec.Name.Slot()
	var lsn, confirmed int64
	err = conn.QueryRow(ctx, sourceSQL, s.Slot).Scan(&s.Now, &lsn, &s.Exists, &s.Active, &confirmed, &s.Retained, &s.WALStatus, &s.SafeBytes)
	s.LSN, s.Confirmed = LSN(lsn), LSN(confirmed)
	return s, postgres.Safe(err)
}

func readTarget(ctx context.Context, c Config) (t Target, err error) {
	conn, err := postgres.Connect(ctx, string(c.Spec.Target.Postgres), c.Spec.Name.ApplicationName("status"))
	if err != nil {
		return t, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	p, err := pgtarget.ReadProgress(ctx, conn, string(c.Spec.Name))
	if err != nil || p == nil {
		return t, err
	}
	return Target{
		Exists: true, Position: p.At, At: p.At.String(), Mode: string(p.Mode), Owner: p.Owner, Loaded: p.Loaded,
		Committed: p.Committed, Applied: p.Applied, Changes: p.Changes, Pending: p.Pending,
	}, nil
}

func readStages(ctx context.Context, c Config) (s Stages, err error) {
	if c.Kafka == nil {
		return s, errors.New(c.Reason)
	}
	admin, err := kafka.OpenAdmin(*c.Kafka)
	if err != nil {
		return s, err
	}
	defer admin.Close()
	for _, name := range []string{"reader", "transformer", "deduplicator"} {
		topic := c.Spec.Name.FrontierTopic(name)
		ends, err := admin.Ends(ctx, topic)
		if err != nil || ends[topic][0] == 0 {
			if name == "reader" && err != nil {
				return s, err
			}
			continue // nothing written: the stage runs fused, or has not started
		}
		codec, err := c.Codec(ctx, topic)
		if err != nil {
			return s, err
		}
		standing, err := kafka.Latest(ctx, *c.Kafka, codec, topic)
		if err != nil {
			return s, err
		}
		s.List = append(s.List, stage(name, standing))
		if name == "reader" {
			s.Loads = loads(standing.State.Loads)
		}
	}
	return s, nil
}

func stage(name string, standing kafka.Standing) Stage {
	st := standing.State
	s := Stage{Name: name, Position: st.At, At: st.At.String(), Offset: st.Offset, Committed: micros(st.Committed)}
	if standing.Last != nil {
		s.Written = micros(standing.Last.Written)
	}
	if standing.Holder != nil {
		s.Owner = standing.Holder.Owner
	}
	return s
}

func micros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// loads adds the heaps of each table up: a partitioned one has several.
func loads(heaps map[table.Name]frontier.Load) []Load {
	sums := map[table.Name]*Load{}
	for _, h := range heaps {
		l := sums[h.Table]
		if l == nil {
			l = &Load{Table: h.Table, Name: h.Table.String(), Complete: true}
			sums[h.Table] = l
		}
		l.Blocks += int64(h.Blocks)
		l.Done += doneBlocks(h)
		l.Complete = l.Complete && h.Complete
	}
	out := make([]Load, 0, len(sums))
	for _, l := range sums {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b Load) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func doneBlocks(h frontier.Load) (n int64) {
	if h.Complete {
		return int64(h.Blocks)
	}
	for _, r := range h.Done {
		n += int64(min(r.To, h.Blocks)) - int64(min(r.From, h.Blocks))
	}
	return n
}
