package stacktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// service is one process of segue, over all its lives.
type service struct {
	name, log, address string
	process            *process
	spent              Usage // of the lives that are over
}

const (
	stopWithin = 40 * time.Second // a drain is bounded at 25 seconds
	killWithin = 20 * time.Second
)

func (s *Stack) service(name string) (*service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if svc := s.services[name]; svc != nil {
		return svc, nil
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	svc := &service{name: name, log: fmt.Sprintf("%s/%s.log", s.dir, name), address: fmt.Sprintf("127.0.0.1:%d", port)}
	s.services[name] = svc
	return svc, nil
}

func (s *Stack) all() []*service {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*service
	for _, svc := range s.services {
		out = append(out, svc)
	}
	slices.SortFunc(out, func(a, b *service) int { return strings.Compare(a.name, b.name) })
	return out
}

// kind is what a process runs: "applier#2" is a second applier.
func kind(name string) string {
	k, _, _ := strings.Cut(name, "#")
	return k
}

// Start runs the services that are named, or all of the form.
func (s *Stack) Start(tb testing.TB, names ...string) {
	tb.Helper()
	if len(names) == 0 {
		names = s.cfg.Form.Services()
	}
	for _, name := range names {
		svc, err := s.service(name)
		if err != nil {
			tb.Fatal(err)
		}
		if svc.process != nil && svc.process.running() {
			tb.Fatalf("start %s: it runs already", name)
		}
		p, err := s.servers.start(process{
			name: name, path: s.binary, log: svc.log, args: []string{"run", kind(name)}, env: append(s.env, "SEGUE_LISTEN="+svc.address),
		})
		if err != nil {
			tb.Fatal(err)
		}
		svc.process = p
	}
}

// Kill ends a service by SIGKILL. It must have been running.
func (s *Stack) Kill(tb testing.TB, name string) {
	tb.Helper()
	svc, err := s.service(name)
	if err != nil {
		tb.Fatal(err)
	}
	if svc.process == nil || !svc.process.running() {
		tb.Fatalf("kill %s: it has ended by itself, with %d", name, svc.process.code())
	}
	if err := svc.kill(); err != nil {
		tb.Fatal(err)
	}
}

func (svc *service) kill() error { return svc.end(syscall.SIGKILL, killWithin) }

func (svc *service) end(signal syscall.Signal, within time.Duration) error {
	if svc.process == nil {
		return nil
	}
	svc.spent.add(svc.process.usage())
	err := svc.process.end(signal, within)
	if err == nil {
		svc.process = nil
	}
	return err
}

// Stop ends the services that are named, or all of them, in their own way, and wants them to end well.
func (s *Stack) Stop(tb testing.TB, names ...string) {
	tb.Helper()
	for _, svc := range s.all() {
		if len(names) > 0 && !slices.Contains(names, svc.name) { // another one's process may be somebody else's to look at now
			continue
		}
		p := svc.process
		if p == nil {
			continue
		}
		if err := svc.end(syscall.SIGTERM, stopWithin); err != nil {
			tb.Fatal(err)
		}
		if code := p.code(); code != 0 {
			tb.Errorf("%s ended with %d after SIGTERM:\n%s", svc.name, code, tail(svc.log, 20))
		}
	}
}

// Usage is what a service has cost until now.
func (s *Stack) Usage(name string) Usage {
	svc := s.services[name]
	if svc == nil {
		return Usage{}
	}
	u := svc.spent
	if svc.process != nil {
		u.add(svc.process.usage())
	}
	return u
}

// Running fails where a service has ended by itself.
func (s *Stack) Running() error {
	for _, svc := range s.all() {
		if svc.process != nil && !svc.process.running() {
			return fmt.Errorf("%s has ended by itself, with %d:\n%s", svc.name, svc.process.code(), tail(svc.log, 20))
		}
	}
	return nil
}

// Ready waits until every service says that it does its work.
func (s *Stack) Ready(tb testing.TB, within time.Duration) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	for _, svc := range s.all() {
		err := await(ctx, svc.name+" to be ready", func() (bool, error) {
			code, _, err := get(ctx, "http://"+svc.address+"/readyz")
			return err == nil && code == http.StatusOK, s.Running()
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// Metrics are the pages of all services that run.
func (s *Stack) Metrics(ctx context.Context) (string, error) {
	var b strings.Builder
	for _, svc := range s.all() {
		if svc.process == nil || !svc.process.running() {
			continue
		}
		for _, page := range []string{"/metrics", "/readyz"} {
			_, text, err := get(ctx, "http://"+svc.address+page)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
		}
	}
	return b.String(), nil
}

// Log is everything that a service has written, over all its lives.
func (s *Stack) Log(name string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("%s/%s.log", s.dir, name))
	return string(text), err
}

func get(ctx context.Context, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String(), err
}

// Result is how a command ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

func (r Result) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.Code, r.Stdout, r.Stderr)
}

// Command runs a command of segue with the stack's settings.
func (s *Stack) Command(tb testing.TB, within time.Duration, args ...string) Result {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Env, cmd.Dir = append(os.Environ(), s.env...), s.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatalf("segue %s: %v", strings.Join(args, " "), err)
	}
	r.Code = cmd.ProcessState.ExitCode()
	if ctx.Err() != nil {
		tb.Errorf("segue %s: not done after %s", strings.Join(args, " "), within)
	}
	return r
}

// tail is the last lines of a file.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Says waits until a service's log holds a text and returns the line.
func (s *Stack) Says(tb testing.TB, name, text string, within time.Duration) (line string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	err := await(ctx, name+" to say "+text, func() (bool, error) {
		log, err := s.Log(name)
		for l := range strings.Lines(log) {
			if strings.Contains(l, text) {
				line = l
				return true, nil
			}
		}
		return false, err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return line
}

// Ended waits until a service has ended by itself, which must be with an error.
func (s *Stack) Ended(tb testing.TB, name string, within time.Duration) {
	tb.Helper()
	svc, err := s.service(name)
	if err != nil {
		tb.Fatal(err)
	}
	select {
	case <-svc.process.ended:
	case <-time.After(within):
		tb.Fatalf("%s still runs after %s:\n%s", name, within, tail(svc.log, 20))
	}
	if code := svc.process.code(); code != 1 {
		tb.Errorf("%s ended with %d, want 1:\n%s", name, code, tail(svc.log, 20))
	}
}

// Revive starts the services again that have ended by themselves.
func (s *Stack) Revive(tb testing.TB) {
	tb.Helper()
	for _, svc := range s.all() {
		if svc.process != nil && !svc.process.running() {
			svc.spent.add(svc.process.usage())
			svc.process = nil
			s.Start(tb, svc.name)
		}
	}
}
