package main

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

// mark puts a row of the test's own onto the source; the history knows nothing of it, and unmark takes it away again.
func (s *story) mark(id string) {
	s.t.Helper()
	pgtest.Exec(s.t, s.source, "INSERT INTO public.parent VALUES ("+id+", 'mark', '')")
}

func (s *story) unmark() {
	s.t.Helper()
	pgtest.Exec(s.t, s.source, "DELETE FROM public.parent WHERE id < 0")
}

const marked = "SELECT EXISTS (SELECT FROM public.parent WHERE id = "

// moveTo goes on with the target on another server, or the same one started again.
func (s *story) moveTo(url string) {
	s.t.Helper()
	s.to = url
	s.target, s.admin = pgtest.Connect(s.t, url), pgtest.Connect(s.t, url)
}

// ends is the rest of a story whose target has lost commits.
func (s *story) ends() {
	s.t.Helper()
	s.steps(20)
	s.unmark()
	s.settle()
	s.compare()
	log := s.log.String()
	for _, want := range []string{"the target has lost its last commits", "reading again from the target's last commit", "waiting for the target"} {
		if !strings.Contains(log, want) {
			s.fail("%q is not in the log", want)
		}
	}
	s.stop()
	s.finish()
}

func forms(t *testing.T, run func(t *testing.T, a embedded.Addresses, seed uint64)) {
	t.Helper()
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for name, seed := range map[string]uint64{"fused": 4000, "staged": 4001} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, servers.Addresses(), seed)
		})
	}
}

// TestPipelineTargetFailover loses the target's primary and promotes a standby that lacks commits which the applier had made: rows and progress are
// of an earlier time there, and the product reads its topics again from that point and ends exactly where the model is (P1, P4).
func TestPipelineTargetFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL clusters")
	}
	forms(t, func(t *testing.T, a embedded.Addresses, seed uint64) {
		pair := pgtest.NewPair(t)
		database := pair.Database(t)
		s := newStoryBetween(t, a, seed, pgtest.Database(t), pair.URL(t, database))
		s.steps(20)
		s.start()
		s.await("the load is over", "SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)")
		s.steps(20)
		s.mark("-2")
		standby := pair.On(t, pair.Standby, database)
		s.target = pgtest.Connect(t, standby)
		s.await("the standby has the first mark", marked+"-2)")
		s.target = s.admin
		pair.CutOff(t)
		s.steps(30)
		s.mark("-3")
		s.await("the primary has the second mark", marked+"-3)")
		s.steps(10)
		pair.Primary.Private.Kill()
		s.steps(10)
		s.sees("waiting for the target")
		pair.Promote(t)
		s.moveTo(standby)
		s.ends()
	})
}

// TestPipelineTargetCrash stops the target's server at once, with commits that it had answered and not flushed.
func TestPipelineTargetCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL clusters")
	}
	forms(t, func(t *testing.T, a embedded.Addresses, seed uint64) {
		c := pgtest.Private(t, map[string]string{"wal_writer_delay": "10s", "wal_writer_flush_after": "100MB"})
		to := c.Database(t)
		s := newStoryBetween(t, a, seed, pgtest.Database(t), to)
		s.steps(20)
		s.start()
		s.await("the load is over", "SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)")
		for _, id := range []string{"-2", "-3"} {
			pgtest.Exec(t, s.admin, "CHECKPOINT")
			s.steps(30)
			s.mark(id)
			s.await("the mark is there", marked+id+")")
			c.Stop(t, true)
			s.steps(5)
			s.sees("waiting for the target")
			c.Start(t)
			s.moveTo(to)
		}
		s.ends()
	})
}

// TestPipelineRefused closes both databases for a while: every component waits, and says so, instead of ending the process.
func TestPipelineRefused(t *testing.T) {
	forms(t, func(t *testing.T, a embedded.Addresses, seed uint64) {
		server := pgtest.Connect(t, pgtest.Server(t).URL)
		s := newStory(t, a, seed+10)
		s.steps(20)
		s.start()
		s.await("the load is over", "SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)")
		to := nameOf(t, s.target)
		s.steps(20)
		closed(t, server, to)
		s.steps(20)
		s.sees("is not currently accepting connections")
		pgtest.Exec(t, server, "ALTER DATABASE "+to+" ALLOW_CONNECTIONS true")
		s.moveTo(strings.Replace(pgtest.Server(t).URL, "/postgres?", "/"+to+"?", 1))
		s.mark("-2")
		s.await("the target is written again", marked+"-2)")

		from := nameOf(t, s.source)
		before := len(s.log.String())
		closed(t, server, from)
		s.seesBehind(before, "is not currently accepting connections")
		s.seesBehind(before, "attempt=3")
		pgtest.Exec(t, server, "ALTER DATABASE "+from+" ALLOW_CONNECTIONS true")
		s.source = pgtest.Connect(t, strings.Replace(pgtest.Server(t).URL, "/postgres?", "/"+from+"?", 1))
		s.steps(20)
		s.unmark()
		s.settle()
		s.compare()
		s.stop()
		s.finish()
	})
}

// closed lets nobody into a database any more, and ends who is there.
func closed(t *testing.T, server *pgx.Conn, name string) {
	t.Helper()
	pgtest.Exec(t, server, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false",
		"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '"+name+"' AND application_name LIKE 'segue%'")
}

func nameOf(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	u, err := url.Parse(conn.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// sees waits for a text in the log.
func (s *story) sees(text string) {
	s.t.Helper()
	s.seesBehind(0, text)
}

// seesBehind leaves out so much of the log.
func (s *story) seesBehind(from int, text string) {
	s.t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(s.log.String()[from:], text) {
		select {
		case <-tick.C:
		case code := <-s.ended:
			s.ended <- code
			s.fail("segue ended by itself with exit code %d", code)
		case <-late:
			s.fail("%q never came", text)
		}
	}
}
