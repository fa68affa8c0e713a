package pgtest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const pollEvery = 5 * time.Millisecond

// Held is a cluster that can hold commits back: in the log, and so in every slot's stream, but not visible to anybody
// and not returned to who committed. In production a slow synchronous standby does that, for a moment or for hours.
type Held struct {
	*Cluster
	conn *pgx.Conn
}

// HoldCommits starts such a cluster for this test. Nothing is held until Hold.
func HoldCommits(t testing.TB) *Held {
	t.Helper()
	c := Private(t, map[string]string{"synchronous_commit": "on"})
	h := &Held{Cluster: c, conn: Connect(t, c.URL)}
	Exec(t, h.conn, `SET synchronous_commit = local`)
	return h
}

// Hold makes every commit wait from now on, but those of sessions with synchronous_commit = local or off.
func (h *Held) Hold(t testing.TB) {
	t.Helper()
	Exec(t, h.conn, `ALTER SYSTEM SET synchronous_standby_names = 'there_is_no_such_standby'`, `SELECT pg_reload_conf()`)
	// The server's processes take the setting up one after the other: it holds when a commit is seen to wait.
	h.poll(t, "hold commits", func() bool {
		probe := h.Start(t, h.URL, `SELECT pg_logical_emit_message(true, 'pgtest', 'probe')`)
		held := false
		h.poll(t, "probe", func() bool {
			held = h.waits(t, probe.pid)
			return held || probe.ended()
		})
		if held {
			Exec(t, h.conn, `SELECT pg_cancel_backend(`+strconv.FormatUint(uint64(probe.pid), 10)+`)`)
		}
		probe.Wait(t)
		return held
	})
}

// Release lets all held commits finish, and later ones pass.
func (h *Held) Release(t testing.TB) {
	t.Helper()
	Exec(t, h.conn, `ALTER SYSTEM RESET synchronous_standby_names`, `SELECT pg_reload_conf()`)
}

// Commit runs statements in a session of its own, as one transaction, and returns when their commit is held. The
// caller waits for the result after Release.
func (h *Held) Commit(t testing.TB, url, sql string) *Running {
	t.Helper()
	r := h.Start(t, url, sql)
	h.poll(t, "hold the commit of "+sql, func() bool {
		if r.ended() {
			t.Fatalf("%s: the commit was not held: %v", sql, r.err)
		}
		return h.waits(t, r.pid)
	})
	return r
}

func (h *Held) waits(t testing.TB, pid uint32) bool {
	t.Helper()
	var waits bool
	err := h.conn.QueryRow(t.Context(), `SELECT coalesce((SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $1), false)`, int64(pid)).Scan(&waits)
	if err != nil {
		t.Fatalf("held cluster: %v", err)
	}
	return waits
}

func (h *Held) poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cleanupTimeout)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("held cluster: %s: %v", what, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Running is a statement that runs in a session of its own.
type Running struct {
	pid  uint32
	done chan struct{}
	err  error
}

// Start runs statements in the background.
func (h *Held) Start(t testing.TB, url, sql string) *Running {
	t.Helper()
	conn := Connect(t, url)
	r := &Running{pid: conn.PgConn().PID(), done: make(chan struct{})}
	ctx := t.Context()
	go func() {
		defer close(r.done)
		_, r.err = conn.Exec(ctx, sql)
	}()
	return r
}

func (r *Running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Wait returns when the statement has ended, and fails the test where it failed.
func (r *Running) Wait(t testing.TB) {
	t.Helper()
	<-r.done
	if r.err != nil {
		t.Fatalf("background statement: %v", r.err)
	}
}
