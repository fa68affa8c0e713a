package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startAttempts is how often StartPostgres tries another free port: one may be taken between finding and binding it.
const startAttempts = 3

// PostgresConfig says where a private PostgreSQL cluster lives and how it runs.
type PostgresConfig struct {
	// Dir holds the cluster (data), its log and its socket. It is created when missing; an existing one is started again, on
	// the port it had.
	Dir string
	// Bin is the folder of the server binaries. Empty: FindPostgres.
	Bin string
	// Settings are lines of postgresql.conf; ALTER SYSTEM overrides them.
	Settings map[string]string
	// Port on 127.0.0.1. 0: the one that the cluster had, else a free one.
	Port int
}

// Postgres is a running private cluster. It listens on the loopback address and trusts whoever connects: it is for
// demonstrations and tests.
type Postgres struct {
	dir, bin string
	port     int
	owner    *owner
	process  *os.Process
	exited   chan struct{} // closed when the server is gone
}

// StartPostgres creates the cluster where there is none, starts it and returns when it takes connections. Run by root, the server runs as
// the user postgres or nobody. It stops with this process, however that ends (on Linux).
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	p := &Postgres{dir: cfg.Dir, bin: cfg.Bin}
	var err error
	if p.bin == "" {
		if p.bin, err = findOrFetch(ctx); err != nil {
			return nil, err
		}
	}
	if p.owner, err = serverOwner(); err != nil {
		return nil, err
	}
	if err := p.prepare(ctx, cfg.Settings); err != nil {
		return nil, fmt.Errorf("prepare PostgreSQL in %s: %w", p.dir, err)
	}
	for attempt := 1; ; attempt++ {
		if p.port, err = p.choosePort(ctx, cfg.Port, attempt); err != nil {
			return nil, err
		}
		if err = p.launch(ctx); err == nil {
			return p, p.rememberPort()
		}
		if cfg.Port != 0 || attempt == startAttempts || ctx.Err() != nil {
			return nil, fmt.Errorf("start PostgreSQL in %s: %w", p.dir, err)
		}
	}
}

// URL is how the cluster's superuser reaches a database.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/" + database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// PID is the process id of the server.
func (p *Postgres) PID() int { return p.process.Pid }

// Runs says whether the server is there: one that its data's disk is too small for ends by itself.
func (p *Postgres) Runs() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Stop ends all sessions, shuts the server down and waits for it.
func (p *Postgres) Stop(ctx context.Context) error {
	if err := p.process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop PostgreSQL in %s: %w", p.dir, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop PostgreSQL in %s: %w", p.dir, ctx.Err())
	}
}

// Kill ends the server at once, as a power failure would, and waits until its processes are gone.
func (p *Postgres) Kill() {
	_ = p.process.Signal(syscall.SIGQUIT) // immediate shutdown: the postmaster takes its children along, SIGKILL would orphan them
	<-p.exited
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }
func (p *Postgres) log() string  { return filepath.Join(p.dir, "log") }

func (p *Postgres) prepare(ctx context.Context, settings map[string]string) error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if err := p.owner.own(p.dir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(p.data(), "PG_VERSION")); errors.Is(err, os.ErrNotExist) {
		if err := p.initialise(ctx); err != nil {
			return err
		}
	}
	var b strings.Builder
	for name, value := range settings {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	return p.writeFile(filepath.Join(p.data(), "segue.conf"), b.String())
}

func (p *Postgres) initialise(ctx context.Context) error {
	cmd := p.owner.command(ctx, filepath.Join(p.bin, "initdb"), "-D", p.data(), "-U", "postgres",
		"--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	conf := filepath.Join(p.data(), "postgresql.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	return p.writeFile(conf, string(text)+"\ninclude_if_exists = 'segue.conf'\n")
}

func (p *Postgres) writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return p.owner.own(path)
}

// launch starts the server and waits until it is ready.
func (p *Postgres) launch(ctx context.Context) error {
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", p.data(), "-c", "listen_addresses=127.0.0.1", "-p", strconv.Itoa(p.port), "-c", "unix_socket_directories=" + p.socketDir()}
	cmd := p.owner.command(context.WithoutCancel(ctx), filepath.Join(p.bin, "postgres"), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	if p.process, p.exited, err = startBound(cmd); err != nil {
		return err
	}
	if err := p.waitReady(ctx); err != nil {
		if ctx.Err() != nil {
			p.Kill()
		}
		return err
	}
	return nil
}

// socketDir is the cluster's folder, or none where the socket's path would be longer than the system allows.
func (p *Postgres) socketDir() string {
	if len(p.dir)+len("/.s.PGSQL.65535.lock") > 100 || !filepath.IsAbs(p.dir) {
		return ""
	}
	return p.dir
}

// waitReady watches the server's pid file, as pg_ctl does: its last line says when connections are taken.
func (p *Postgres) waitReady(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-p.exited:
			return fmt.Errorf("the server ended: %s", p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("wait until it is ready: %w", ctx.Err())
		case <-ticker.C:
		}
		text, err := os.ReadFile(filepath.Join(p.data(), "postmaster.pid"))
		if err != nil {
			continue // not written yet
		}
		lines := strings.Split(string(text), "\n")
		if lines[0] == strconv.Itoa(p.process.Pid) && slices.ContainsFunc(lines[1:], takesConnections) {
			return nil
		}
	}
}

// takesConnections says whether a line of the pid file says so; a standby takes those that only read.
func takesConnections(line string) bool {
	line = strings.TrimSpace(line)
	return line == "ready" || line == "standby"
}

func (p *Postgres) logTail() string {
	const tail = 2000
	text, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-tail):]))
}

// choosePort prefers the asked port, then the one from before, so that URLs stay good over a restart.
func (p *Postgres) choosePort(ctx context.Context, asked, attempt int) (int, error) {
	if asked != 0 {
		return asked, nil
	}
	if text, err := os.ReadFile(p.portFile()); err == nil && attempt == 1 {
		if port, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return port, nil
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func (p *Postgres) portFile() string { return filepath.Join(p.dir, "port") }

func (p *Postgres) rememberPort() error {
	return p.writeFile(p.portFile(), strconv.Itoa(p.port)+"\n")
}
