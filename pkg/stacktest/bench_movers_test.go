package stacktest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/stacktest"
)

// moving is a contender at work between two databases.
type moving interface {
	begin(b *testing.B)  // the first time: snapshot, then stream; later: go on
	loaded(b *testing.B) // waits for the end of the snapshot
	stop(b *testing.B)
	costs() cost
}

func mover(b *testing.B, s *stacktest.Stack, c contender) moving {
	b.Helper()
	if c.name == native {
		return newReplication(b, s)
	}
	return &pipeline{s: s, form: c.form}
}

// pipeline is segue.
type pipeline struct {
	s    *stacktest.Stack
	form stacktest.Form
}

func (p *pipeline) begin(b *testing.B) { p.s.Start(b) }
func (p *pipeline) stop(b *testing.B)  { p.s.Stop(b) }
func (p *pipeline) costs() cost        { return costs(p.s, p.form) }

func (p *pipeline) loaded(b *testing.B) {
	p.s.Passed(b, "0/0", 20*time.Minute, func(at stacktest.Progress) bool { return at.Loaded })
}

// replication is PostgreSQL's own.
type replication struct {
	s     *stacktest.Stack
	name  string
	begun bool
}

func newReplication(b *testing.B, s *stacktest.Stack) *replication {
	r := &replication{s: s, name: strings.ReplaceAll(s.Migration, "-", "_")}
	sql(b, stacktest.Connect(b, s.Legacy), "CREATE PUBLICATION "+r.name+" FOR ALL TABLES")
	return r
}

func (r *replication) begin(b *testing.B) {
	target := stacktest.Connect(b, r.s.Target)
	if r.begun {
		sql(b, target, "ALTER SUBSCRIPTION "+r.name+" ENABLE")
		return
	}
	r.begun = true
	sql(b, target, fmt.Sprintf("CREATE SUBSCRIPTION %s CONNECTION '%s' PUBLICATION %s", r.name, r.s.Legacy, r.name))
	b.Cleanup(func() { r.drop(b) })
}

func (r *replication) loaded(b *testing.B) {
	until(b, stacktest.Connect(b, r.s.Target), "SELECT count(*) > 0 AND bool_and(srsubstate IN ('s', 'r')) FROM pg_subscription_rel")
}

// stop waits until the worker has gone: only then do changes heap up.
func (r *replication) stop(b *testing.B) {
	target := stacktest.Connect(b, r.s.Target)
	sql(b, target, "ALTER SUBSCRIPTION "+r.name+" DISABLE")
	until(b, target, "SELECT count(*) = 0 FROM pg_stat_subscription WHERE subname = '"+r.name+"' AND pid IS NOT NULL")
}

// drop runs before the databases go: one with a subscription stays.
func (r *replication) drop(b *testing.B) {
	ctx := context.Background() // the benchmark's own has ended
	conn, err := pgx.Connect(ctx, r.s.Target)
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "DROP SUBSCRIPTION "+r.name); err != nil {
		b.Error(err)
	}
}

func (r *replication) costs() cost { return cost{} }
