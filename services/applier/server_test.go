package applier

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/pgtest"
)

// on is a started site on a server of its own, as its superuser.
func on(t *testing.T, c *pgtest.Cluster) *site {
	t.Helper()
	admin := c.Database(t)
	s := newSite(t, admin, admin)
	s.load(20)
	s.run(10)
	s.start()
	s.caughtUp()
	return s
}

// A server that stops and starts again in good order has everything; one that is stopped at once loses the last commits, which were asynchronous,
// and they are read again.
func TestAServerThatStartsAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster several times")
	}
	// Nothing is flushed by itself for ten seconds.
	c := pgtest.Private(t, map[string]string{"wal_writer_delay": "10s", "wal_writer_flush_after": "100MB"})
	s := on(t, c)
	// A server that is stopped at once loses what was not flushed yet; now and then that is nothing.
	lost := 0
	for round := 0; lost == 0 || round < 3; round++ {
		if round == 10 {
			t.Fatalf("no commit was lost by any stop at once\n%s", s.logs.tail())
		}
		atOnce := round > 0
		s.sql("CHECKPOINT")
		rewinds := s.rig.metric("rewinds_total")
		s.run(10)
		s.caughtUp()
		s.run(40) // some of it is under way
		c.Stop(t, atOnce)
		s.logs.wait(t, "connect")
		c.Start(t)
		s.run(10)
		s.caughtUp()
		got := s.rig.metric("rewinds_total") - rewinds
		if got > 0 && !atOnce {
			t.Fatalf("stopped in its own way, read again %v times\n%s", got, s.logs.tail())
		}
		lost += int(got)
	}
	s.exact()
	s.shown("connect")
	if !strings.Contains(s.logs.String(), "lost its last commits") {
		t.Errorf("nobody was told why\n%s", s.logs.tail())
	}
}

// All of the server's connections are others' when the applier comes back.
func TestAServerWithoutAConnectionLeft(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster")
	}
	c := pgtest.Private(t, map[string]string{"max_connections": "12", "max_wal_senders": "2", "superuser_reserved_connections": "3"})
	admin := c.Database(t)
	url := owned(t, admin, "mover", "first")
	s, proxy := through(t, admin)
	s.sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO mover", "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO mover", "ALTER TABLE p OWNER TO mover", "ALTER TABLE c OWNER TO mover")
	s.cfg.Target.URL = strings.Replace(s.cfg.Target.URL, "postgres@", "mover:first@", 1)
	s.load(10)
	s.start()
	s.caughtUp()
	proxy.Refuse(true)
	proxy.Reset()
	s.kill()
	var others []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			if !strings.Contains(err.Error(), "53300") {
				t.Fatal(err)
			}
			break
		}
		others = append(others, conn)
	}
	s.run(20)
	proxy.Refuse(false)
	s.logs.wait(t, "53300")
	for _, conn := range others {
		_ = conn.Close(t.Context())
	}
	s.exact()
	s.shown("53300")
}

// The role's password is changed and changed back.
func TestAPasswordThatIsChanged(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster")
	}
	c := pgtest.Private(t, nil)
	admin := c.Database(t)
	url := owned(t, admin, "mover", "first")
	s := newSite(t, admin, url)
	var hba string
	conn := pgtest.Connect(t, admin)
	if err := conn.QueryRow(t.Context(), "SHOW hba_file").Scan(&hba); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hba, append([]byte("host all mover 127.0.0.1/32 scram-sha-256\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	s.sql("SELECT pg_reload_conf()", "ALTER TABLE p OWNER TO mover", "ALTER TABLE c OWNER TO mover", "GRANT ALL ON ALL TABLES IN SCHEMA public TO mover", "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO mover")
	s.load(10)
	s.start()
	s.caughtUp()
	s.sql("ALTER ROLE mover PASSWORD 'second'")
	s.kill()
	s.run(20)
	s.logs.wait(t, "28P01")
	if all := s.logs.String(); strings.Contains(all, "mover:first") || strings.Contains(all, "second") {
		t.Error("a password was told")
	}
	s.sql("ALTER ROLE mover PASSWORD 'first'")
	s.exact()
	s.shown("28P01")
}

// fill writes a file until the file system has no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for buf := make([]byte, size); err == nil; {
			_, err = f.Write(buf)
		}
		err = nil
	}
}

// The tables' disk is full: rows wait for room.
func TestATablespaceWithoutRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster")
	}
	dir := small(t, 24)
	c := pgtest.Private(t, nil)
	space := filepath.Join(dir, "space")
	if err := os.Mkdir(space, 0o777); err != nil {
		t.Fatal(err)
	}
	giveTo(t, c, space)
	s := on(t, c)
	s.sql("CREATE TABLESPACE small LOCATION '"+space+"'", "ALTER TABLE seen SET TABLESPACE small")
	junk := filepath.Join(dir, "junk")
	fill(t, junk)
	for !strings.Contains(s.logs.String(), "53100") {
		s.run(50)
		s.logs.again(t)
	}
	s.logs.wait(t, "again_in=8ms")
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	s.exact()
	s.shown("53100")
	s.sql("ALTER TABLE seen SET TABLESPACE pg_default", "DROP TABLESPACE small")
}

// The server's log has no room: the server stops by itself, and somebody makes room and starts it.
func TestAServerWithoutRoomForItsLog(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster several times")
	}
	dir := small(t, 200)
	home := filepath.Join(dir, "server")
	c := pgtest.PrivateIn(t, home, map[string]string{"max_wal_size": "48MB", "min_wal_size": "32MB", "restart_after_crash": "on"})
	s := on(t, c)
	junk := filepath.Join(dir, "junk")
	fill(t, junk)
	late := time.After(patience)
	for down := false; !down; { // a new file of the log cannot be made
		s.run(3)
		conn, err := pgx.Connect(t.Context(), s.admin)
		if err == nil {
			_, err = conn.Exec(t.Context(), "SELECT pg_switch_wal()")
			_ = conn.Close(t.Context())
		}
		down = !c.Runs() || (err != nil && !strings.Contains(err.Error(), "ERROR"))
		select {
		case <-late:
			t.Fatalf("the server goes on without room: %v", err)
		default:
		}
	}
	s.run(20)
	s.logs.wait(t, "again_in=8ms")
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	revive(t, c)
	s.run(10)
	s.exact()
	s.shown("connect")
}

// revive waits until the server is back by itself, or starts it where it has given up.
func revive(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	late := time.After(patience)
	for {
		if !c.Runs() {
			c.Start(t)
			return
		}
		if conn, err := pgx.Connect(t.Context(), c.URL); err == nil {
			_ = conn.Close(t.Context())
			return
		}
		select {
		case <-late:
			t.Fatal("the server neither runs nor has ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// giveTo makes the server's user the owner of a folder.
func giveTo(t *testing.T, c *pgtest.Cluster, dir string) {
	t.Helper()
	var data string
	conn := pgtest.Connect(t, c.URL)
	if err := conn.QueryRow(t.Context(), "SHOW data_directory").Scan(&data); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
}

// The primary is lost and a standby is promoted that lacks the last commits: rows and progress are of an earlier time there, and all that came
// behind it is read again.
func TestAStandbyThatLacksTheLastCommits(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL clusters")
	}
	pair := pgtest.NewPair(t)
	database := pair.Database(t)
	s := newSite(t, pair.On(t, pair.Primary, database), pair.URL(t, database))
	s.load(20)
	s.run(10)
	s.start()
	s.caughtUp()
	at, _ := s.end()
	primary := s.admin
	s.admin = pair.On(t, pair.Standby, database)
	s.until("the standby has that", `SELECT EXISTS (SELECT FROM segue.progress WHERE lsn = $1::pg_lsn)`, fmt.Sprintf("0/%X", at.LSN))
	s.admin = primary
	pair.CutOff(t)
	s.run(20)
	s.caughtUp()
	s.run(20) // under way
	pair.Primary.Private.Kill()
	s.logs.wait(t, "waiting for the target")
	pair.Promote(t)
	s.admin = pair.On(t, pair.Standby, database)
	s.exact()
	s.shown("connect")
	if s.rig.metric("rewinds_total") == 0 || !strings.Contains(s.logs.String(), "lost its last commits") {
		t.Errorf("nobody was told\n%s", s.logs.tail())
	}
}
