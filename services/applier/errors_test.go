package applier

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/pgtest"
)

// started is a site whose load is done, on a database of the shared server, as a role of its own.
func started(t *testing.T, before ...string) (s *site, role, database string) {
	t.Helper()
	admin := pgtest.Database(t)
	role = "segue_" + strings.ToLower(rand.Text()[:16])
	url := owned(t, admin, role, "first")
	t.Cleanup(func() { dropRole(t, admin, role) })
	s = newSite(t, admin, url)
	conn := pgtest.Connect(t, admin)
	if err := conn.QueryRow(t.Context(), "SELECT current_database()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, conn, "GRANT ALL ON ALL TABLES IN SCHEMA public TO "+role, "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "+role,
		"ALTER TABLE p OWNER TO "+role, "ALTER TABLE c OWNER TO "+role)
	for _, sql := range before {
		pgtest.Exec(t, conn, strings.NewReplacer("$role", role, "$database", database).Replace(sql))
	}
	_ = conn.Close(t.Context())
	s.load(20)
	s.run(10)
	s.start()
	s.caughtUp()
	return s, role, database
}

// dropRole removes a test's role from the server that others share.
func dropRole(t *testing.T, admin, role string) {
	conn, err := pgx.Connect(t.Context(), admin)
	if err != nil {
		conn, err = pgx.Connect(contextOf(t), admin)
	}
	if err != nil {
		t.Error(err)
		return
	}
	ctx := contextOf(t)
	defer conn.Close(ctx)
	for _, sql := range []string{
		"REASSIGN OWNED BY " + role + " TO postgres", "DROP OWNED BY " + role, "DROP ROLE " + role,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// session is somebody else's on the target, with a statement under way in the background.
type session struct {
	conn *pgx.Conn
	done chan error
}

func (s *site) user(statements ...string) *session {
	s.t.Helper()
	u := &session{conn: pgtest.Connect(s.t, s.admin), done: make(chan error, 1)}
	pgtest.Exec(s.t, u.conn, statements...)
	return u
}

func (u *session) begin(t *testing.T, sql string) {
	ctx := t.Context()
	go func() {
		_, err := u.conn.Exec(ctx, sql)
		u.done <- err
	}()
}

const blocked = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'segue test' AND wait_event_type = 'Lock' AND datname = current_database())`

// updates adds a transaction of partial updates of rows of p.
func (s *site) updates(ids ...int) {
	var changes []change.Mapped
	for _, id := range ids {
		row := s.row(0, id)
		row[2] = change.Absent()
		changes = append(changes, s.op(change.Update, 0, nil, row))
	}
	s.transaction(changes, false)
}

func TestDeadlockWithSomebodyElseIsTriedAgain(t *testing.T) {
	s, _, _ := started(t)
	one, two := s.pick(s.p), 0
	for two = one; two == one; {
		two = s.pick(s.p)
	}
	// The second row is somebody else's first, and who waits last finds no deadlock for a long time: segue finds it.
	u := s.user("SET deadlock_timeout = '1min'", "BEGIN", fmt.Sprintf("SELECT FROM p WHERE id = %d FOR UPDATE", two))
	s.updates(one, two)
	s.until("segue waits for the second row", blocked)
	u.begin(t, fmt.Sprintf("SELECT FROM p WHERE id = %d FOR UPDATE", one))
	s.logs.wait(t, "40P01")
	if err := <-u.done; err != nil {
		t.Fatalf("somebody else was the victim: %v", err)
	}
	s.run(20)
	pgtest.Exec(t, u.conn, "COMMIT")
	s.exact()
	s.shown("40P01")
}

// Settings of the role and the database, and whoever else reads the rows in another isolation, do not reach segue's transactions.
func TestSettingsOfTheRoleDoNotReachTransactions(t *testing.T) {
	s, _, _ := started(t, "ALTER ROLE $role SET default_transaction_isolation = 'serializable'", "ALTER ROLE $role SET statement_timeout = '150ms'",
		"ALTER ROLE $role SET lock_timeout = '50ms'", "ALTER ROLE $role SET idle_in_transaction_session_timeout = '50ms'",
		"ALTER DATABASE $database SET default_transaction_deferrable = on", "ALTER DATABASE $database SET deadlock_timeout = '1ms'")
	for range 10 {
		u := s.user("BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT count(*) FROM p, c", "SELECT count(*) FROM seen", "INSERT INTO seen (tab, id, v, isolation) VALUES ('x', 0, nextval('seen_place_seq'), 'read committed')")
		s.run(5)
		s.caughtUp()
		_, _ = u.conn.Exec(t.Context(), "COMMIT") // it may be theirs that cannot be serialized
	}
	id := s.pick(s.p)
	u := s.user("BEGIN", fmt.Sprintf("SELECT FROM p WHERE id = %d FOR UPDATE", id))
	s.updates(id)
	s.until("a statement lasts longer than the role's timeouts", `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'segue test'
		AND datname = current_database() AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > '300ms')`)
	pgtest.Exec(t, u.conn, "COMMIT")
	s.exact()
	if n := s.rig.metric("retries_total"); n != 0 {
		t.Errorf("%v attempts were repeated\n%s", n, s.logs)
	}
}

func TestALockThatIsHeldIsWaitedForWithGrowingPauses(t *testing.T) {
	s, _, _ := started(t)
	if err := s.stop(); err == nil {
		t.Fatal("it ended")
	}
	s.cfg.Target.LockTimeout = 50 * time.Millisecond
	s.start()
	u := s.user("BEGIN", "LOCK TABLE c IN EXCLUSIVE MODE")
	s.run(30)
	s.logs.wait(t, "again_in=16ms")
	pgtest.Exec(t, u.conn, "COMMIT")
	s.exact()
	s.shown("55P03")
}

func TestACancelledStatementIsTriedAgain(t *testing.T) {
	s, _, _ := started(t)
	for range 3 {
		id := s.pick(s.p)
		u := s.user("BEGIN", fmt.Sprintf("SELECT FROM p WHERE id = %d FOR UPDATE", id))
		s.updates(id)
		s.run(5)
		s.until("segue waits for the row", blocked)
		pgtest.Exec(t, u.conn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'segue test'")
		s.logs.wait(t, "57014")
		pgtest.Exec(t, u.conn, "COMMIT")
	}
	s.exact()
	s.shown("57014")
}

// What somebody does to the server so that segue is not let in, or may not write, is waited for and seen, and behind it nothing is missing.
func TestARefusingTargetIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name, code string
		refuse     []string
		admit      []string
	}{
		{"read only", "25006", []string{"ALTER DATABASE $database SET default_transaction_read_only = on"}, []string{"ALTER DATABASE $database RESET default_transaction_read_only"}},
		{"limit of the role", "53300", []string{"ALTER ROLE $role CONNECTION LIMIT 0"}, []string{"ALTER ROLE $role CONNECTION LIMIT -1"}},
		{"no login", "28000", []string{"ALTER ROLE $role NOLOGIN"}, []string{"ALTER ROLE $role LOGIN"}},
		{"no right to connect", "42501", []string{"REVOKE CONNECT ON DATABASE $database FROM public", "ALTER DATABASE $database OWNER TO postgres"}, []string{"ALTER DATABASE $database OWNER TO $role"}},
		{"closed database", "55000", []string{"ALTER DATABASE $database ALLOW_CONNECTIONS false"}, []string{"ALTER DATABASE $database ALLOW_CONNECTIONS true"}},
		{"renamed database", "3D000", []string{"ALTER DATABASE $database ALLOW_CONNECTIONS false", "$kill", "ALTER DATABASE $database RENAME TO $database_away"},
			[]string{"ALTER DATABASE $database_away RENAME TO $database", "ALTER DATABASE $database ALLOW_CONNECTIONS true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, role, database := started(t)
			server := pgtest.Connect(t, pgtest.Server(t).URL)
			do := func(statements []string) {
				t.Helper()
				kill := "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = '" + database + "'"
				for _, sql := range statements {
					pgtest.Exec(t, server, strings.NewReplacer("$role", role, "$database", database, "$kill", kill).Replace(sql))
				}
			}
			s.run(20)
			do(append(c.refuse, "$kill"))
			s.run(20)
			s.logs.wait(t, c.code)
			s.logs.wait(t, "again_in=8ms")
			do(c.admit)
			s.exact()
			s.shown(c.code)
		})
	}
}
