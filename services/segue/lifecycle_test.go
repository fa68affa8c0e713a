package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/pgtest"
)

// asSegue makes this test binary be segue.
const asSegue = "SEGUE_TEST_AS_SEGUE"

func TestMain(m *testing.M) {
	if os.Getenv(asSegue) != "" {
		main()
	}
	os.Exit(m.Run())
}

// user is somebody at a shell with two databases, a segue.yaml and a free address.
type user struct {
	t              *testing.T
	env            []string
	source, target string
}

func newUser(t *testing.T) *user {
	t.Helper()
	u := &user{t: t, source: pgtest.Database(t), target: pgtest.Database(t)}
	dir := t.TempDir()
	file := filepath.Join(dir, "segue.yaml")
	text := fmt.Sprintf("migration: life%d\nsource: {postgres: %q}\ntarget: {postgres: %q}\ntables:\n  - from: public.*\n", time.Now().UnixNano()%1e9, u.source, u.target)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u.env = append(os.Environ(), asSegue+"=1", "SEGUE_CONFIG="+file, "SEGUE_DATA_DIR="+filepath.Join(dir, "data"), "SEGUE_LISTEN=127.0.0.1:0")
	tables := []string{`CREATE TABLE people (id int PRIMARY KEY, name text)`, `CREATE TABLE pets (id int PRIMARY KEY, owner int REFERENCES people ON DELETE CASCADE, name text)`}
	pgtest.Exec(t, pgtest.Connect(t, u.target), tables...)
	pgtest.Exec(t, pgtest.Connect(t, u.source), append(tables,
		`INSERT INTO people SELECT i, 'p' || i FROM generate_series(1, 3000) i`, `INSERT INTO pets SELECT i, i % 3000 + 1, 'a' || i FROM generate_series(1, 5000) i`)...)
	return u
}

// alive is a segue process under way.
type alive struct {
	*exec.Cmd
	log *lockedBuffer
}

func (u *user) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(u.t.Context(), os.Args[0], args...)
	cmd.Env = u.env
	return cmd
}

func (u *user) start(args ...string) *alive {
	u.t.Helper()
	r := &alive{Cmd: u.command(args...), log: &lockedBuffer{}}
	r.Stderr = r.log
	if err := r.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = r.Process.Kill() })
	return r
}

// ends waits for the process and returns its exit code, -1 where a signal ended it.
func (u *user) ends(r *alive) int {
	u.t.Helper()
	err := r.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	return r.ProcessState.ExitCode()
}

// does runs a command to its end.
func (u *user) does(args ...string) (code int, stdout, stderr string) {
	u.t.Helper()
	cmd := u.command(args...)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), talk.String()
}

// row asks a database for one text.
func row(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	var s string
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

const contents = `SELECT (SELECT coalesce(string_agg(t::text, '|' ORDER BY id), '') FROM people t) || (SELECT coalesce(string_agg(t::text, '|' ORDER BY id), '') FROM pets t)`

// The whole life of a small migration, as a user lives it.
func TestLifecycle(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	u := newUser(t)
	source, target := pgtest.Connect(t, u.source), pgtest.Connect(t, u.target)
	first := u.start("run", "all")
	proved := func(when string) {
		t.Helper()
		if code, out, talk := u.does("reconcile", "--wait", "--timeout", "30s"); code != exitFine {
			t.Fatalf("%s: exit code %d\n%s%s\n%s", when, code, out, talk, first.log)
		}
		if row(t, source, contents) != row(t, target, contents) {
			t.Fatalf("%s: the stores differ, and reconcile did not say so", when)
		}
	}
	first.log.waitFor(t, "foreign keys enforced")
	proved("after the load")

	if code, _, talk := u.does("run", "all"); code != exitError || !strings.Contains(talk, "another segue process") {
		t.Errorf("a second process on the data directory: exit code %d\n%s", code, talk)
	}
	for round := range 3 {
		pgtest.Exec(t, source, fmt.Sprintf(`UPDATE people SET name = name || '%d' WHERE id %% 7 = %d`, round, round),
			fmt.Sprintf(`DELETE FROM people WHERE id = %d`, 100+round), fmt.Sprintf(`INSERT INTO pets VALUES (%d, 1, 'new')`, 10_000+round))
		if err := first.Process.Kill(); err != nil { // SIGKILL, wherever it is with that
			t.Fatal(err)
		}
		u.ends(first)
		first = u.start("run", "all")
		first.log.waitFor(t, "target opened")
	}
	proved("after kill -9")

	pgtest.Exec(t, target, `UPDATE people SET name = 'tampered' WHERE id = 77`)
	if code, out, _ := u.does("reconcile"); code != exitDiffer || !strings.Contains(out, "public.people") || !strings.Contains(out, "id=77") {
		t.Errorf("a row changed by hand: exit code %d\n%s", code, out)
	}
	pgtest.Exec(t, target, `UPDATE people SET name = '`+row(t, source, `SELECT name FROM people WHERE id = 77`)+`' WHERE id = 77`)
	if code, out, talk := u.does("status"); code != exitFine || !strings.Contains(out, "fused, loaded") || strings.Contains(out, "not reached") {
		t.Errorf("status: exit code %d\n%s%s", code, out, talk)
	}

	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := u.ends(first); code != exitFine {
		t.Errorf("drained with exit code %d\n%s", code, first.log)
	}

	// The stages go their ways through topics, and back, with changes made while nothing runs.
	for _, mode := range []string{"staged", "fused", "staged"} {
		pgtest.Exec(t, source, `UPDATE people SET name = name || '`+mode+`' WHERE id % 11 = 3`, `UPDATE pets SET owner = owner % 90 + 1 WHERE id % 13 = 1`)
		first = u.start("run", "all", "--stages", mode)
		first.log.waitFor(t, "target opened")
		proved(mode)
		if _, out, _ := u.does("status"); !strings.Contains(out, mode+", loaded") {
			t.Errorf("status in mode %s:\n%s", mode, out)
		}
		if err := first.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := u.ends(first); code != exitFine {
			t.Errorf("%s drained with exit code %d\n%s", mode, code, first.log)
		}
	}
}

// lockedBuffer is what a process has said so far.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// waitFor waits until the text was said.
func (b *lockedBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for {
		b.mu.Lock()
		said, more := strings.Contains(b.text.String(), text), b.more
		if more == nil {
			more = make(chan struct{})
			b.more = more
		}
		b.mu.Unlock()
		if said {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("never said %q:\n%s", text, b)
		}
	}
}
