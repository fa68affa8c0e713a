package status

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

const sourceSQL = `
SELECT clock_timestamp(), ((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) - '0/0')::bigint`

func readSource(ctx context.Context, c Config) (s Source, err error) {
	conn, err := postgres.Connect(ctx, string(c.Spec.Source.Postgres), c.Spec.Name.ApplicationName("status"))
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	s.Slot = c.Spec.Name.Slot()
	if err := conn.QueryRow(ctx, sourceSQL).Scan(&s.Now, &s.LSN); err != nil {
		return s, postgres.Safe(err)
	}
	slot, err := pgsource.Inspect(ctx, conn, s.Slot)
	if err != nil {
		return s, err
	}
	s.Exists, s.Active, s.Confirmed = slot.Exists, slot.Active, LSN(slot.ConfirmedLSN)
	s.Retained, s.WALStatus, s.SafeBytes = slot.RetainedBytes, slot.WALStatus, slot.SafeWALSize
	s.Unconfirmed, s.XminAge, s.Inactive = slot.UnconfirmedBytes, slot.CatalogXminAge, slot.Inactive.Seconds()
	s.Failover, s.Invalid, s.OnLimit = slot.Failover, slot.Invalidation, string(c.Spec.Protect.OnLimit)
	if slot.Exists && slot.WALStatus != "lost" {
		for _, over := range c.Spec.Protect.Crossed(slot.RetainedBytes, slot.CatalogXminAge, slot.Inactive) {
			s.Crossed = append(s.Crossed, over.String())
		}
	}
	return s, nil
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
	t = Target{
		Exists: true, Position: p.At, At: p.At.String(), Mode: string(p.Mode), Owner: p.Owner, Loaded: p.Loaded,
		Committed: p.Committed, Applied: p.Applied, Changes: p.Changes, Pending: p.Pending, Parked: p.ParkedRows, ParkedChanges: p.Parked,
	}
	if pause := &c.Spec.Target.Pause; pause.Watches() {
		b, err := postgres.ReadBusy(ctx, conn)
		if err != nil {
			return t, err
		}
		t.Crossed = pause.Crossed(b.ActiveSessions, b.StandbyLag)
	}
	indexes, err := pgtarget.ReadIndexes(ctx, conn, string(c.Spec.Name))
	if err != nil {
		return t, err
	}
	if t.IndexesKept, t.IndexesMade = indexes.Kept, indexes.Made; indexes.Kept > 0 {
		t.Indexes = indexes.String()
	}
	if p.ParkedRows > 0 {
		counts, err := pgtarget.ParkedCounts(ctx, conn, string(c.Spec.Name))
		if err != nil {
			return t, err
		}
		for name, n := range counts {
			t.ParkedTables = append(t.ParkedTables, Parked{Name: name.String(), Rows: n})
		}
		slices.SortFunc(t.ParkedTables, func(a, b Parked) int { return strings.Compare(a.Name, b.Name) })
	}
	return t, nil
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
			s.Loads = loads(taken(c.Spec, standing.State.Loads))
		}
	}
	return s, nil
}

// readServices asks the consumer groups in which the processes of a service take turns.
func readServices(ctx context.Context, c Config) (s Services, err error) {
	if c.Kafka == nil {
		return s, nil // the stages say why
	}
	names := []string{"reader", "transformer", "deduplicator", "applier"}
	groups := make(map[string]string, len(names))
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = c.Spec.Name.Group(name)
		groups[list[i]] = name
	}
	seats, err := kafka.Seats(ctx, *c.Kafka, list...)
	for _, seat := range seats {
		s.List = append(s.List, Service{Name: groups[seat.Group], Working: seat.Working, Standing: seat.Standing})
	}
	return s, err
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

// taken are the heaps of tables that the migration takes now.
func taken(spec *migration.Spec, heaps map[table.Name]frontier.Load) map[table.Name]frontier.Load {
	out := make(map[table.Name]frontier.Load, len(heaps))
	for leaf, h := range heaps {
		for i := range spec.Tables {
			if spec.Tables[i].Selects(h.Table) {
				out[leaf] = h
			}
		}
	}
	return out
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
