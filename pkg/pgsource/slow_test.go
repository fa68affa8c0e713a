package pgsource_test

import (
	"net/url"
	"testing"
	"time"

	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
)

// withParameter sets a parameter of the session by its URL.
func withParameter(t *testing.T, raw, name, value string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// waitFor polls the server until the query is true.
func (s *source) waitFor(query string, args ...any) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		var ok bool
		if err := s.conn.QueryRow(s.t.Context(), query, args...).Scan(&ok); err != nil {
			s.t.Fatalf("%s: %v", query, err)
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: still false", query)
		}
		s.exec(`SELECT pg_sleep(0.02)`)
	}
}

// A consumer that takes nothing for several times wal_sender_timeout keeps the stream: statuses flow meanwhile, memory
// stays bounded, the server waits, and not a row is missing afterwards.
func TestSlowConsumerKeepsTheStream(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`, "t")
	cfg := s.config()
	cfg.URL = withParameter(t, s.url, "wal_sender_timeout", "1s")
	cfg.StatusEvery, cfg.Buffer = 50*time.Millisecond, 256<<10
	stream := s.open(cfg)
	const rows = 60000
	s.exec(`INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 60000) g`)
	for begun := false; !begun; {
		e, err := stream.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		begun = e.Kind == pgsource.KindBegin
	}
	// The server's own clock says how long nothing was taken: several times the timeout.
	s.exec(`SELECT pg_sleep(5)`)
	if _, waiting := stream.Received(); waiting < cfg.Buffer/2 || waiting > cfg.Buffer+(128<<10) {
		t.Errorf("%d bytes wait, the bound is %d", waiting, cfg.Buffer)
	}
	s.waitFor(`SELECT now() - reply_time < '1s' FROM pg_stat_replication WHERE pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1)`, s.setup.Slot)
	seen := 0
	s.read(stream, func(e pgsource.Event) {
		if e.Kind == pgsource.KindChange {
			seen++
		}
	})
	if seen != rows {
		t.Errorf("%d of %d rows", seen, rows)
	}
}

// All three positions are what they say: what was received is not what was confirmed.
func TestPositionsAreReportedApart(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	cfg := s.config()
	cfg.StatusEvery = 10 * time.Millisecond
	stream := s.open(cfg)
	s.exec(`INSERT INTO t VALUES (1)`, `INSERT INTO t VALUES (2)`)
	var ends []uint64
	s.read(stream, func(e pgsource.Event) {
		if e.Kind == pgsource.KindCommit {
			ends = append(ends, e.Commit.EndLSN)
		}
	})
	stream.Confirm(ends[0])
	s.waitFor(`SELECT coalesce(flush_lsn = $2::text::pg_lsn AND replay_lsn = flush_lsn AND write_lsn > flush_lsn, false) FROM pg_stat_replication
		WHERE pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1)`, s.setup.Slot, pgsource.LSN(ends[0]).String())
}

// On a quiet database keepalives carry the position on, so that the slot does not hold back log that has nothing for it.
func TestKeepalivesCarryThePositionOn(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)`, "t")
	cfg := s.config()
	cfg.URL = withParameter(t, s.url, "wal_sender_timeout", "1s")
	cfg.StatusEvery = 10 * time.Millisecond
	stream := s.open(cfg)
	s.exec(`INSERT INTO other SELECT generate_series(1, 1000)`)
	var want uint64
	if err := s.conn.QueryRow(t.Context(), `SELECT (pg_current_wal_lsn() - '0/0')::bigint`).Scan(&want); err != nil {
		t.Fatal(err)
	}
	for reached := false; !reached; {
		e, err := stream.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reached = e.Kind == pgsource.KindKeepalive && e.ServerEnd >= want
		if reached {
			stream.Confirm(e.ServerEnd)
		}
	}
	s.waitFor(`SELECT confirmed_flush_lsn >= ('0/0'::pg_lsn + $2::bigint) FROM pg_replication_slots WHERE slot_name = $1`, s.setup.Slot, int64(want))
}

// A transaction that the server has to spill comes through whole and in order, without being held here.
func TestLargeTransaction(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200 000 rows")
	}
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`, "t")
	cfg := s.config()
	cfg.URL = withParameter(t, s.url, "logical_decoding_work_mem", "64kB")
	cfg.Buffer = 1 << 20
	stream := s.open(cfg)
	const rows = 200000
	s.exec(`INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 200000) g`)
	seen, ordered, most := 0, true, 0
	got := s.readFew(stream, func(e pgsource.Event) bool {
		if e.Kind != pgsource.KindChange {
			return true
		}
		seen++
		ordered = ordered && len(e.Change.After) == 2 && string(e.Change.After[0].Bytes()) == itoa(seen)
		_, waiting := stream.Received()
		most = max(most, waiting)
		return false
	})
	wantLines(t, got, "begin", "commit")
	if seen != rows || !ordered || most > 2<<20 {
		t.Errorf("%d of %d rows, in order: %v, at most %d bytes waiting", seen, rows, ordered, most)
	}
	s.waitFor(`SELECT coalesce((SELECT spill_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = $1), false)`, s.setup.Slot)
}

// A value larger than every buffer passes.
func TestLargeValue(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`, "t")
	cfg := s.config()
	cfg.Buffer = 64 << 10
	stream := s.open(cfg)
	s.exec(`INSERT INTO t VALUES (1, repeat('0123456789', 2000000))`, `INSERT INTO t VALUES (2, 'x')`)
	size := 0
	wantLines(t, s.read(stream, func(e pgsource.Event) {
		if e.Kind == pgsource.KindChange && size == 0 {
			size = len(e.Change.After[1].Bytes())
		}
	}), "begin", "insert t is(1,012…20000000)", "commit", "begin", "insert t is(2,x)", "commit")
	if size != 20000000 {
		t.Errorf("%d bytes", size)
	}
}

// Values look in the stream as they do in a session that Pin has set up, whatever the database's own settings are.
func TestStreamAndPinnedSessionWriteTheSameText(t *testing.T) {
	s := newSource(t, `CREATE SCHEMA app; CREATE TABLE app.seen (id int); CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, i interval, b bytea, f float8, m money, r regclass, d date, x xml, a float4[])`, "t")
	name := s.conn.Config().Database
	s.exec(`ALTER DATABASE `+name+` SET datestyle = 'SQL, DMY'`, `ALTER DATABASE `+name+` SET intervalstyle = 'iso_8601'`, `ALTER DATABASE `+name+` SET timezone = 'Asia/Tokyo'`,
		`ALTER DATABASE `+name+` SET bytea_output = 'escape'`, `ALTER DATABASE `+name+` SET extra_float_digits = 0`, `ALTER DATABASE `+name+` SET search_path = app, public`)
	s.exec(`INSERT INTO t VALUES (1, '2024-02-03 04:05:06.789+09', '1 year 2 days 03:04:05', '\x00ff', 0.1::float8 + 0.2::float8, '12.34', 'app.seen', '0044-03-15 BC', '<a/>', '{0.1,NaN}')`)
	var streamed []string
	s.read(s.open(s.config()), func(e pgsource.Event) {
		if e.Kind == pgsource.KindChange {
			for _, v := range e.Change.After {
				streamed = append(streamed, string(v.Bytes()))
			}
		}
	})
	pinned := s.pinnedRow(t, pgtest.Connect(t, s.url))
	if len(streamed) != len(pinned) {
		t.Fatalf("streamed %q, read %q", streamed, pinned)
	}
	for i := range pinned {
		if streamed[i] != pinned[i] {
			t.Errorf("column %d: streamed %q, read %q", i, streamed[i], pinned[i])
		}
	}
	if streamed[1] != "2024-02-02 19:05:06.789+00" || streamed[6] != "app.seen" {
		t.Errorf("streamed %q", streamed)
	}
}
