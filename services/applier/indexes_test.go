package applier

import (
	"strings"
	"sync"
	"testing"
	"time"

	"segue/pkg/frontier"
	"segue/pkg/pgtest"
)

// waiting remembers what the applier said that it waits for.
type waiting struct {
	mu   sync.Mutex
	said []string
}

func (w *waiting) say(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, why)
}

func (w *waiting) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.said, "\n")
}

func (w *waiting) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.said) == 0 {
		return ""
	}
	return w.said[len(w.said)-1]
}

func TestIndexesGoForTheLoadAndAreToldOfBehindIt(t *testing.T) {
	r := newRig(t)
	pgtest.Exec(t, r.conn, `CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN $1; END'`,
		`CREATE INDEX c_p ON c (p)`, `CREATE INDEX c_slow ON c (public.slow(id))`, `SELECT pg_advisory_lock(4711)`)
	w := &waiting{}
	r.cfg.Target.IndexesAfterLoad, r.cfg.Target.IndexWorkers, r.cfg.Look = true, 2, 10*time.Millisecond
	r.deps.Waiting = w.say
	_, stop := r.start()
	r.want("SELECT count(*)::text FROM pg_index WHERE indrelid = 'c'::regclass", "1")
	last := r.batch(true, func(f *frontier.Frontier) { f.Loaded = true }, insert(0, "5", "name"), insert(1, "1", "5"))
	r.reach(last)
	r.logs.wait(t, "1 of 2 indexes made; public.c: building index")
	r.want("SELECT count(*)::text FROM pg_constraint WHERE contype = 'f'", "0") // foreign keys come behind them
	pgtest.Exec(t, r.conn, `SELECT pg_advisory_unlock_all()`)
	r.reach(r.batch(true, func(f *frontier.Frontier) { f.Loaded = true }, insert(0, "6", "name")))
	r.want("SELECT count(*)::text FROM pg_index WHERE indrelid = 'c'::regclass AND indisvalid", "3")
	r.want("SELECT count(*)::text FROM pg_constraint WHERE contype = 'f' AND convalidated", "1")
	_ = stop()
	if all := w.all(); !strings.Contains(all, "for the target's indexes behind the load: 1 of 2 indexes made") || w.last() != "" {
		t.Error(all)
	}
}
