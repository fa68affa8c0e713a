package reader_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/services/reader"
)

// In PostgreSQL a commit is in the log, and streamed, before it is visible. A synchronous standby that does not answer holds that state: these tests
// read chunks in it.

// heldSQL changes a row at the end of the table, which is read last.
const heldSQL = `UPDATE public.a SET n = -5, v = nextval('public.versions') WHERE id = 1499`

// slow makes the load last longer than what a test does meanwhile.
func slow(c *reader.Config) { c.RowsPerSecond, c.Workers = 1500, 1 }

// local lets the reader's own commits pass while others are held, as they would with a standby that is merely slow.
func local(c *reader.Config) {
	sep := "?"
	if strings.Contains(c.URL, "?") {
		sep = "&"
	}
	c.URL += sep + "options=-c%20synchronous_commit%3Dlocal"
}

// streamed waits until the held change came through the stream.
func (x *target) streamed() {
	x.h.t.Helper()
	n := x.seen[change.Update]
	x.until("the held change", func() bool { return x.seen[change.Update] > n })
}

// waitLog waits for a line of the reader's log.
func (h *harness) waitLog(part string) {
	h.t.Helper()
	h.wait("the log to say "+part, func() bool { return strings.Contains(h.logs.String(), part) })
}

// wait polls what only another goroutine can bring about.
func (h *harness) wait(what string, done func() bool) {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			h.t.Fatalf("waiting for %s\n%s", what, h.logs)
		}
	}
}

// voided is how many chunks were read again for the reason.
func voided(t *testing.T, reg *prometheus.Registry, reason string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "segue_reader_chunk_retries_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "reason" && l.GetValue() == reason {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

func TestACommitThatIsVisibleOnlyAfterTheChunkVoidsIt(t *testing.T) {
	held := pgtest.HoldCommits(t)
	h := newHarness(t, held.Database(t), []string{"a", "b"}, shop...)
	h.cfg = slow
	h.metrics = prometheus.NewRegistry()
	h.start()
	x := h.target()
	x.until("some chunks", func() bool { return x.loads >= 2 })
	held.Hold(t)
	running := held.Commit(t, h.url, heldSQL)
	x.streamed()
	// It is on the target, and no chunk from now on sees it on the source.
	h.wait("a void chunk", func() bool { return voided(t, h.metrics, "invisible") > 1 })
	held.Release(t)
	running.Wait(t)
	x.settle()
}

func TestACommitFromBeforeARestartHoldsChunksBack(t *testing.T) {
	held := pgtest.HoldCommits(t)
	h := newHarness(t, held.Database(t), []string{"a", "b"}, shop...)
	h.cfg = slow
	h.start()
	x := h.target()
	x.until("some chunks", func() bool { return x.loads >= 2 })
	held.Hold(t)
	running := held.Commit(t, h.url, heldSQL)
	x.streamed()
	// A frontier behind it counts, so the next life's stream does not bring it again.
	at := x.at
	x.until("a frontier behind it", func() bool { return at.Before(x.at) && x.source.State().At == x.at })
	h.kill()
	h.logs.clear()
	h.start()
	h.waitLog("chunks wait")
	held.Release(t)
	running.Wait(t)
	x.settle()
}

func TestACommitFromBeforeTheTableWasPublishedHoldsChunksBack(t *testing.T) {
	held := pgtest.HoldCommits(t)
	h := newHarness(t, held.Database(t), []string{"b", "a"}, shop...)
	h.cfg = local
	all := h.names
	h.names = all[:1]
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	h.logs.clear()
	held.Hold(t)
	running := held.Commit(t, h.url, heldSQL)
	h.names = all
	h.start()
	h.waitLog("chunks wait")
	held.Release(t)
	running.Wait(t)
	h.target().settle()
}

func TestACommitFromBeforeTheSlotIsLoaded(t *testing.T) {
	held := pgtest.HoldCommits(t)
	h := newHarness(t, held.Database(t), []string{"a"}, shop...)
	held.Hold(t)
	running := held.Commit(t, h.url, heldSQL)
	h.cfg = local
	h.start()
	h.wait("the slot to be asked for", func() bool {
		var n int
		if err := h.conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1`, h.slot).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	held.Release(t)
	running.Wait(t)
	h.target().settle()
}
