package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgscan"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/service"
	"segue/pkg/table"
	"segue/pkg/wire"
)

// resyncing is one resync, as the command drives it. All that has to outlive it is in Kafka: the requests, and in the reader's frontiers how
// far they are. It is for one goroutine.
type resyncing struct {
	work   *work
	plan   *plan
	talk   io.Writer
	tables []*table.Table
	where  string
	keys   []change.Row
	// differences leaves the reading out: what a comparison finds is all that is asked for.
	differences bool

	codec    *wire.Requests
	requests *kafka.Requests
	follower *kafka.Follower
	started  time.Time
	told     string // last
	toldAt   time.Time
}

func (p *process) openResync(cmd *cobra.Command) (*resyncing, error) {
	s, err := p.settings(cmd)
	if err != nil {
		return nil, err
	}
	spec, err := p.spec(s)
	if err != nil {
		return nil, err
	}
	servers, err := find(s)
	if err != nil {
		return nil, err
	}
	w, err := newWork(p, s, spec, servers, "resync")
	if err != nil {
		return nil, err
	}
	r := &resyncing{work: w, talk: p.stderr, started: time.Now()}
	for try := 1; ; try++ {
		if r.plan, err = readPlan(cmd.Context(), spec); err == nil {
			break
		}
		if fault.ClassOf(err) != fault.ClassTransient || try == openTries || pause(cmd.Context()) != nil {
			return nil, err
		}
	}
	if r.codec, err = wire.NewRequests(cmd.Context(), w.registry, spec.Name.RequestsTopic()); err != nil {
		return nil, err
	}
	frontiers, err := w.frontiers(cmd.Context(), stageReader)
	if err != nil {
		return nil, err
	}
	if r.follower, err = kafka.Follow(cmd.Context(), servers.kafka, frontiers, spec.Name.FrontierTopic(stageReader)); err != nil {
		return nil, err
	}
	if r.follower.Standing().State.Offset < 0 {
		r.follower.Close()
		return nil, fault.Fatal(errors.New("the reader has not written a frontier yet: there is nothing to read again"), "start the migration: segue run all (or run reader)")
	}
	if r.requests, err = kafka.OpenRequests(servers.kafka, spec.Name.RequestsTopic()); err != nil {
		r.follower.Close()
		return nil, err
	}
	return r, nil
}

func (r *resyncing) close() {
	r.requests.Close()
	r.follower.Close()
}

// run asks for the tables, one behind the other, and compares. Tables that others refer to come first: rows that the target lost could
// not be put in before those that they refer to.
func (r *resyncing) run(ctx context.Context, wait bool) (report resyncReport, err error) {
	report = resyncReport{Migration: string(r.work.spec.Name)}
	defer func() { report.Seconds = time.Since(r.started).Seconds() }()
	if r.where != "" {
		err := r.onSource(ctx, func(conn *pgx.Conn) error { return pgscan.CheckPredicate(ctx, conn, r.tables[0], r.where) })
		if fault.ClassOf(err) == fault.ClassPoison {
			return report, usage(err)
		}
		if err != nil {
			return report, err
		}
	}
	tables, err := r.ordered(ctx)
	if err != nil {
		return report, err
	}
	for _, t := range tables {
		report.Tables = append(report.Tables, &resyncedTable{Table: t.Name.String(), Asked: r.asked(), Keys: len(r.keys)})
	}
	for i, t := range tables {
		if r.differences {
			continue
		}
		if err := r.read(ctx, t, wait, report.Tables[i]); err != nil {
			return report, err
		}
	}
	switch {
	case !wait:
		return report, nil
	case r.keys != nil:
		return report, r.applied(ctx)
	}
	return report, r.mend(ctx, tables, &report)
}

func (r *resyncing) asked() string {
	switch {
	case r.keys != nil:
		return "keys"
	case r.where != "":
		return "where"
	case r.differences:
		return "differences"
	}
	return "whole"
}

// ordered sorts the tables by the foreign keys of their targets.
func (r *resyncing) ordered(ctx context.Context) ([]*table.Table, error) {
	source := map[table.Name]*table.Table{}
	var names []table.Name
	for _, t := range r.tables {
		name := r.plan.mapping.For(t.Name).Target().Table.Name
		source[name] = t
		names = append(names, name)
	}
	var out []*table.Table
	err := r.onTarget(ctx, func(conn *pgx.Conn) error {
		sorted, err := pgtarget.ParentsFirst(ctx, conn, names)
		for _, n := range sorted {
			out = append(out, source[n])
		}
		return err
	})
	return out, err
}

// read asks for a table and waits until all that was asked for is in the stream.
func (r *resyncing) read(ctx context.Context, t *table.Table, wait bool, result *resyncedTable) error {
	began := time.Now()
	state, err := r.standing(ctx)
	if err != nil {
		return err
	}
	handled := int64(0)
	switch {
	case r.keys != nil:
		if handled, err = r.ask(ctx, t, r.keys); fault.ClassOf(err) == fault.ClassPoison {
			err = usage(err)
		}
	case r.where == "" && open(&state, t.Name):
		r.say("%s is being read already: waiting for its end", t.Name)
	default:
		handled, err = r.put(ctx, request.Request{Kind: request.Resync, Table: t.Name, Where: r.where})
	}
	if err != nil || !wait {
		return err
	}
	at, err := r.await(ctx, t.Name, handled)
	if err != nil {
		return err
	}
	result.ReadAt, result.Seconds = at.String(), time.Since(began).Seconds()
	r.say("%s: read up to %s", t.Name, at)
	return nil
}

// put writes a request, and returns how many are handled when this one is.
func (r *resyncing) put(ctx context.Context, q request.Request) (int64, error) {
	q.ID, q.By, q.Written = r.work.owner+" "+q.Table.String(), "resync", time.Now().UnixMicro()
	b, err := r.codec.EncodeRequest(q)
	if err != nil {
		return 0, fmt.Errorf("ask for %s: %w", q.Table, err)
	}
	offset, err := r.requests.Put(ctx, b)
	return offset + 1, err
}

// keysAtOnce is how many keys one request holds.
const keysAtOnce = 1000

// ask requests rows by their keys, in the texts that the source has for them.
func (r *resyncing) ask(ctx context.Context, t *table.Table, keys []change.Row) (handled int64, err error) {
	for len(keys) > 0 {
		n := min(len(keys), keysAtOnce)
		var exact []change.Row
		err := r.onSource(ctx, func(conn *pgx.Conn) (err error) {
			exact, err = pgscan.Canonical(ctx, conn, t, keys[:n])
			return err
		})
		if fault.ClassOf(err) == fault.ClassPoison {
			return 0, fault.Poison(fmt.Errorf("a key is no value of its column's type: %w", err))
		}
		if err != nil {
			return 0, err
		}
		if handled, err = r.put(ctx, request.Request{Kind: request.Keys, Table: t.Name, Keys: exact}); err != nil {
			return 0, err
		}
		keys = keys[n:]
	}
	return handled, nil
}

// openTries is how often both catalogs are tried to be read: a server that was just restarted comes back, a wrong address does not.
const openTries = 20

// The pauses of a resync, and how long the reader may be silent until that is told: it writes a heartbeat every two seconds.
const (
	resyncPoll  = 200 * time.Millisecond
	resyncTell  = 5 * time.Second
	readerQuiet = 15 * time.Second
)

// standing is where the reader's output stands. What fails on the way is tried again, until the time is over.
func (r *resyncing) standing(ctx context.Context) (frontier.State, error) {
	for {
		err := r.follower.Update(ctx)
		if err == nil {
			return r.follower.Standing().State, nil
		}
		if ctx.Err() != nil {
			return frontier.State{}, ctx.Err()
		}
		if fault.ClassOf(err) != fault.ClassTransient {
			return frontier.State{}, err
		}
		r.repeat("Kafka is not reached: " + err.Error())
		if err := pause(ctx); err != nil {
			return frontier.State{}, err
		}
	}
}

// await waits until the reader has handled the request and no load of the table is open, and returns the position there.
func (r *resyncing) await(ctx context.Context, t table.Name, handled int64) (change.Position, error) {
	for {
		state, err := r.standing(ctx)
		if err != nil {
			return change.Position{}, err
		}
		if state.Requests >= handled && (r.keys != nil || !open(&state, t)) {
			return state.At, nil
		}
		last := r.follower.Standing().Last
		silence := time.Duration(0)
		if last != nil {
			silence = time.Since(time.UnixMicro(last.Written)).Round(time.Second)
		}
		switch {
		case silence > readerQuiet:
			r.repeat(fmt.Sprintf("%s: the reader has written nothing for %s: is it running? The request waits in Kafka, nothing is lost", t, silence))
		case state.Requests < handled && r.where == "" && r.keys == nil:
			r.repeat(fmt.Sprintf("%s: waiting for the request's turn", t))
		case state.Requests < handled:
			r.repeat(fmt.Sprintf("%s: rows are being read", t))
		default:
			done, all := blocks(&state, t)
			r.repeat(fmt.Sprintf("%s: %d of %d blocks are read", t, done, all))
		}
		if err := pause(ctx); err != nil {
			return change.Position{}, err
		}
	}
}

// open says whether a load of the table is not over.
func open(s *frontier.State, t table.Name) bool {
	for _, l := range s.Loads {
		if l.Table == t && !l.Complete {
			return true
		}
	}
	return false
}

func blocks(s *frontier.State, t table.Name) (done, all uint64) {
	for _, l := range s.Loads {
		if l.Table != t {
			continue
		}
		all += uint64(l.Blocks)
		for _, d := range l.Done {
			done += uint64(d.To - d.From)
		}
	}
	return min(done, all), all
}

// applied waits until the target stands where the keys were read, or behind it.
func (r *resyncing) applied(ctx context.Context) error {
	state, err := r.standing(ctx)
	if err != nil {
		return err
	}
	for {
		var at *pgtarget.Progress
		err := r.onTarget(ctx, func(conn *pgx.Conn) (err error) {
			at, err = pgtarget.ReadProgress(ctx, conn, string(r.work.spec.Name))
			return err
		})
		if err != nil {
			return err
		}
		if at != nil && !at.At.Before(state.At) {
			return nil
		}
		r.repeat(fmt.Sprintf("the rows are in the stream at %s; waiting for the applier", state.At))
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func (r *resyncing) onSource(ctx context.Context, do func(*pgx.Conn) error) error {
	return r.on(ctx, string(r.work.spec.Source.Postgres), do)
}

func (r *resyncing) onTarget(ctx context.Context, do func(*pgx.Conn) error) error {
	return r.on(ctx, string(r.work.spec.Target.Postgres), do)
}

// on does something on a connection of its own, again while it fails for a cause that may pass.
func (r *resyncing) on(ctx context.Context, url string, do func(*pgx.Conn) error) error {
	for {
		conn, err := postgres.Connect(ctx, url, r.work.spec.Name.ApplicationName("resync"))
		if err == nil {
			err = do(conn)
			closeConn(ctx, conn)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || fault.ClassOf(err) != fault.ClassTransient {
			return err
		}
		r.repeat(err.Error())
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error { return service.Sleep(ctx, resyncPoll) }

// say tells something new.
func (r *resyncing) say(format string, args ...any) {
	r.told, r.toldAt = fmt.Sprintf(format, args...), time.Now()
	_, _ = fmt.Fprintln(r.talk, r.told)
}

// repeat tells how things stand, now and then.
func (r *resyncing) repeat(line string) {
	if line != r.told && time.Since(r.toldAt) >= resyncTell {
		r.say("%s", line)
	}
}
