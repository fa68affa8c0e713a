package stacktest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/stacktest"
)

// bank is a pair of stores that tell what went wrong: money moves between accounts, so that each transaction leaves every sum at zero; every
// account has a version that only grows; an entry's number is never used again. The target keeps a record of everything that is written to it.
type bank struct {
	s       *stacktest.Stack
	begun   time.Time
	probed  atomic.Int64 // nanoseconds since begun of the newest probe on the target
	broken  atomic.Int64 // looks at the target that saw half a transaction
	looks   atomic.Int64
	verdict string
}

const (
	accounts = 2_000
	entries  = 120_000
	people   = 3
)

const bankTables = `
CREATE TABLE public.account (id int PRIMARY KEY, balance bigint NOT NULL, v bigint NOT NULL, note text);
CREATE TABLE public.entry (id bigint PRIMARY KEY, account_id int NOT NULL REFERENCES public.account, amount bigint NOT NULL, memo text);
CREATE TABLE public.probe (id int PRIMARY KEY, at bigint NOT NULL);`

const bankRows = `
CREATE SEQUENCE public.versions;
CREATE SEQUENCE public.numbers START 1000000;
INSERT INTO public.account SELECT g, 0, nextval('public.versions'), repeat(md5(g::text), 1 + g %% 100) FROM generate_series(1, %d) g;
INSERT INTO public.entry SELECT g, 1 + g / 2 %% %d, CASE WHEN g %% 2 = 0 THEN 1 ELSE -1 END * (g / 2 %% 97), md5(g::text) FROM generate_series(2, %d + 1) g;
UPDATE public.account a SET balance = coalesce((SELECT sum(amount) FROM public.entry e WHERE e.account_id = a.id), 0);
INSERT INTO public.probe VALUES (1, 0);`

// bankRecord is on the target alone.
const bankRecord = `
CREATE SCHEMA record;
CREATE TABLE record.account (n bigserial, id int, v bigint);
CREATE TABLE record.entry (n bigserial, id bigint);
CREATE FUNCTION record.note_account() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO record.account (id, v) VALUES (NEW.id, NEW.v); RETURN NULL; END';
CREATE FUNCTION record.note_entry() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO record.entry (id) VALUES (NEW.id); RETURN NULL; END';
CREATE TRIGGER record AFTER INSERT OR UPDATE ON public.account FOR EACH ROW EXECUTE FUNCTION record.note_account();
CREATE TRIGGER record AFTER INSERT ON public.entry FOR EACH ROW EXECUTE FUNCTION record.note_entry();`

func openBank(t *testing.T, s *stacktest.Stack) *bank {
	t.Helper()
	for url, sql := range map[string]string{s.Legacy: bankTables + fmt.Sprintf(bankRows, accounts, accounts, entries), s.Target: bankTables + bankRecord} {
		if _, err := stacktest.Connect(t, url).PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	return &bank{s: s}
}

// open lets people in until the returned function is called, which says how many transactions they committed.
func (b *bank) open(t *testing.T) (stop func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var committed atomic.Int64
	var wg sync.WaitGroup
	b.begun = time.Now()
	run := func(url string, work func(ctx context.Context, conn *pgx.Conn) error) {
		conn := stacktest.Connect(t, url)
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := work(context.WithoutCancel(ctx), conn); err != nil {
					t.Errorf("the bank: %v", err)
					return
				}
			}
		})
	}
	for i := range people {
		r := rand.New(rand.NewPCG(uint64(i), 5))
		run(b.s.Legacy, func(ctx context.Context, conn *pgx.Conn) error {
			<-time.After(time.Duration(r.IntN(20)) * time.Millisecond)
			done, err := transfer(ctx, conn, r)
			if done {
				committed.Add(1)
			}
			return err
		})
	}
	run(b.s.Legacy, func(ctx context.Context, conn *pgx.Conn) error {
		<-time.After(50 * time.Millisecond)
		_, err := conn.Exec(ctx, "UPDATE public.probe SET at = $1", int64(time.Since(b.begun)))
		return err
	})
	run(b.s.Target, b.look)
	stop = sync.OnceValue(func() int64 {
		cancel()
		wg.Wait()
		return committed.Load()
	})
	t.Cleanup(func() { stop() })
	return stop
}

// transfer moves money, and does other things that sources do.
func transfer(ctx context.Context, conn *pgx.Conn, r *rand.Rand) (done bool, err error) {
	from, to, amount, pair := 1+r.IntN(accounts), 1+r.IntN(accounts), 1+r.IntN(1000), r.Int64()
	if from == to {
		return false, nil
	}
	low, high := min(from, to), max(from, to) // in one order: no deadlocks
	sign := 1
	if low == from {
		sign = -1
	}
	sql := fmt.Sprintf(`BEGIN;
		UPDATE public.account SET balance = balance + %d, v = nextval('public.versions') WHERE id = %d;
		UPDATE public.account SET balance = balance + %d, v = nextval('public.versions') WHERE id = %d;
		INSERT INTO public.entry VALUES (nextval('public.numbers'), %d, %d, '%d'), (nextval('public.numbers'), %d, %d, '%d');`,
		sign*amount, low, -sign*amount, high, low, sign*amount, pair, high, -sign*amount, pair)
	switch r.IntN(12) {
	case 0: // a long text, which later updates leave unchanged
		sql += fmt.Sprintf("UPDATE public.account SET note = repeat(md5(random()::text), %d), v = nextval('public.versions') WHERE id = %d;", 1+r.IntN(300), low)
	case 1: // a new key
		sql += fmt.Sprintf("UPDATE public.entry SET id = nextval('public.numbers') WHERE id = (SELECT id FROM public.entry WHERE account_id = %d ORDER BY id DESC LIMIT 1);", low)
	case 2: // a pair that goes
		sql += fmt.Sprintf(`WITH gone AS (DELETE FROM public.entry WHERE id > currval('public.numbers') - 1000 AND memo = '%d' RETURNING account_id, amount)
			UPDATE public.account a SET balance = balance - amount, v = nextval('public.versions') FROM gone WHERE a.id = account_id;`, pair)
	case 3: // what never happened
		sql += fmt.Sprintf("SAVEPOINT s; UPDATE public.account SET balance = 0, v = 0 WHERE id = %d; ROLLBACK TO s;", high)
	case 4: // a larger one
		sql += fmt.Sprintf("UPDATE public.account SET v = nextval('public.versions') WHERE id >= %d AND id < %d + 60;", high, high)
	}
	end := "COMMIT"
	if r.IntN(15) == 0 {
		end = "ROLLBACK"
	}
	_, err = conn.PgConn().Exec(ctx, sql+end).ReadAll()
	var state *pgconn.PgError
	if errors.As(err, &state) && state.Code == "40P01" { // a deadlock among the larger ones
		_, err = conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll()
		return false, err
	}
	return err == nil && end == "COMMIT", err
}

// look is one look at the target, as its users have it: once it is loaded, every sum is zero. (The load shows rows of different moments.)
func (b *bank) look(ctx context.Context, conn *pgx.Conn) error {
	<-time.After(25 * time.Millisecond)
	const sums = `SELECT coalesce((SELECT at FROM public.probe), 0),
		coalesce((SELECT bool_and(loaded) FROM segue.progress), false) AND ((SELECT sum(balance) FROM public.account) <> 0
			OR random() < 0.05 AND (SELECT sum(amount) FROM public.entry) <> 0)`
	var at int64
	var broken *bool
	if err := conn.QueryRow(ctx, sums).Scan(&at, &broken); err != nil {
		return ignoreMissing(err)
	}
	b.probed.Store(max(at, b.probed.Load()))
	b.looks.Add(1)
	if broken != nil && *broken {
		b.broken.Add(1)
	}
	return nil
}

// fresh waits until the target shows what the source had at a moment or later.
func (b *bank) fresh(t *testing.T, moment time.Time, within time.Duration) bool {
	t.Helper()
	want := int64(moment.Sub(b.begun))
	late := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for b.probed.Load() < want {
		if err := b.s.Running(); err != nil {
			t.Error(err)
			return false
		}
		select {
		case <-tick.C:
		case <-late:
			return false
		case <-t.Context().Done():
			return false
		}
	}
	return true
}

func (b *bank) pairs() []stacktest.Pair {
	var out []stacktest.Pair
	for _, name := range []string{"account", "entry", "probe"} {
		query := "SELECT * FROM public." + name + " ORDER BY 1"
		out = append(out, stacktest.Pair{Name: name, Source: query, Target: query})
	}
	return out
}

// audit reads the target's record: a version that fell is a change out of order, an entry that came twice a doubled one.
func (b *bank) audit(t *testing.T) {
	t.Helper()
	const sql = `SELECT (SELECT count(*) FROM (SELECT v < lag(v) OVER (PARTITION BY id ORDER BY n) AS fell FROM record.account) x WHERE fell),
		(SELECT count(*) FROM (SELECT FROM record.entry GROUP BY id HAVING count(*) > 1) x), (SELECT count(*) FROM record.account), (SELECT count(*) FROM record.entry)`
	var disordered, doubled, versions, came int64
	if err := stacktest.Connect(t, b.s.Target).QueryRow(t.Context(), sql).Scan(&disordered, &doubled, &versions, &came); err != nil {
		t.Fatal(err)
	}
	b.verdict = fmt.Sprintf("%d doubled of %d entries, %d out of order of %d writes, %d of %d looks saw half a transaction",
		doubled, came, disordered, versions, b.broken.Load(), b.looks.Load())
	var sum int64
	if err := stacktest.Connect(t, b.s.Legacy).QueryRow(t.Context(), "SELECT (SELECT sum(balance) FROM public.account) + (SELECT sum(amount) FROM public.entry)").Scan(&sum); err != nil || sum != 0 {
		t.Errorf("the bank itself lost money: %d, %v; its people or the looks at its target are wrong", sum, err)
	}
	if doubled+disordered+b.broken.Load() > 0 || versions < accounts || b.looks.Load() < 50 {
		t.Error(b.verdict)
	}
}

// ignoreMissing lets what the applier has not made yet pass.
func ignoreMissing(err error) error {
	var state *pgconn.PgError
	if errors.As(err, &state) && (state.Code == "42P01" || state.Code == "3F000") {
		return nil
	}
	return err
}
