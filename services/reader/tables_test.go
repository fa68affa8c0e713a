package reader_test

import (
	"errors"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgtest"
	"segue/services/reader"
)

// open is a consumer of some tables' lanes.
func (h *harness) consumer(topics ...string) error {
	h.t.Helper()
	var lanes []frontier.Lane
	for _, topic := range topics {
		for p := range int32(partitions) {
			lanes = append(lanes, frontier.Lane{Table: topic, Partition: p})
		}
	}
	r, err := kafka.OpenReader(h.t.Context(), kafka.ReaderConfig{
		Kafka: h.kafka, FrontierTopic: frontierTopic, LaneTopic: rawTopic, Lanes: lanes, Codec: h.frontiers(), From: frontier.Cursor{Offset: -1, Incarnation: -1},
	})
	if err == nil {
		r.Close()
	}
	return err
}

// A table is added, taken out and added again, while the others go on under traffic and the reader is killed in the middle.
func TestTablesComeAndGo(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	both := h.names
	published := func() int {
		return h.count(`SELECT count(*) FROM pg_publication_tables WHERE pubname = $1`, h.slot)
	}
	h.names = both[:1]
	h.start()
	x := h.target()
	x.settle()
	h.kill()

	// Added: it is loaded while the stream of the other goes on.
	stop := busy(t, h.url, false)
	h.names = both
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 1000, 1 }
	h.start()
	x = h.target()
	x.until("some chunks of the new table", func() bool { return len(x.rows["b"]) > 50 })
	if x.loaded {
		t.Error("the load was over too soon, or not told of")
	}
	h.kill()
	h.cfg = func(*reader.Config) {}
	h.start()
	x.until("the load", func() bool { return x.loaded })
	stop()
	x.settle()
	if err := h.consumer("public.a"); fault.ClassOf(err) != fault.ClassTransient || err == nil || !strings.Contains(err.Error(), "public.b is in the topic") {
		t.Errorf("a consumer with an older file would lose a table: %v", err)
	}

	// Taken out: its changes are nobody's, whoever reads the topics passes over what they still hold.
	h.kill()
	h.names = both[:1]
	stop = busy(t, h.url, false)
	h.start()
	h.wait("the publication to shrink", func() bool { return published() == 1 })
	h.wait("its consumers to be let on", func() bool { return h.consumer("public.a") == nil })
	x = h.target()
	x.until("the load", func() bool { return x.loaded })
	stop()
	x.settle()
	if p := h.last.Progress(); len(p) != 1 {
		t.Errorf("progress of %v", p)
	}

	// Added again: what changed meanwhile is in no stream, so all of it is read again, also behind a crash.
	h.kill()
	pgtest.Exec(t, h.conn, `UPDATE public.b SET note = 'unseen', v = nextval('public.versions') WHERE y % 3 = 0`, `INSERT INTO public.b (x, y, note) VALUES ('unseen', 1, 'unseen')`)
	h.names = both
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 1000, 1 }
	h.start()
	h.wait("the publication to grow", func() bool { return published() == 2 })
	x = h.target()
	x.until("what came before", func() bool { return !x.source.Ready() })
	h.kill()
	h.cfg = func(*reader.Config) {}
	h.start()
	x.until("what was missed", func() bool {
		for _, r := range x.rows["b"] {
			if string(r[0].Bytes()) == "unseen" {
				return x.loaded
			}
		}
		return false
	})
	want, got := h.count(`SELECT count(*) FROM public.b WHERE note = 'unseen'`), 0
	for _, r := range x.rows["b"] {
		if string(r[3].Bytes()) == "unseen" {
			got++
		}
	}
	if got != want || x.seen[change.Read] < want {
		t.Errorf("%d of %d rows that changed meanwhile arrived", got, want)
	}
}

// A table that went before anything of it was read, with a reader that was killed at once, is left all the same.
func TestATableThatWentBeforeItWasRead(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	both := h.names
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 1, 1 }
	h.start()
	h.waitLog("") // it runs
	h.wait("a frontier", func() bool {
		err := h.consumer("public.a")
		return err != nil && !errors.Is(err, t.Context().Err())
	})
	h.kill()
	h.names = both[:1]
	h.cfg = func(*reader.Config) {}
	h.start()
	h.wait("its consumers to be let on", func() bool { return h.consumer("public.a") == nil })
	h.target().settle()
}
