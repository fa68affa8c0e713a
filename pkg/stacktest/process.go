package stacktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// poll is how often a condition is looked at.
const poll = 20 * time.Millisecond

// process is a child of this test process. What it writes is appended to its log.
type process struct {
	name, path, log string
	args, env       []string

	cmd    *exec.Cmd
	folder *folder
	ended  chan struct{} // closed when it is gone
}

// start runs it. It dies with this process: on Linux by the parent-death signal, elsewhere by the folder's shell.
func (s *Servers) start(p process) (*process, error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	p.folder, p.ended = s.folder, make(chan struct{})
	p.cmd = exec.Command(p.path, p.args...) //nolint:noctx // it is ended by kill and stop
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), p.env...), s.folder.path
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = log, log, attributes()
	started := make(chan error)
	go func() {
		// Linux sends the parent-death signal when the starting thread ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended stands in ProcessState
		}
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	s.folder.holds(p.cmd.Process.Pid)
	return &p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// end sends the signal and waits until the process is gone.
func (p *process) end(signal syscall.Signal, within time.Duration) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
		p.folder.lets(p.pid())
		return nil
	case <-time.After(within):
		return fmt.Errorf("end %s: it still runs %s after %s", p.name, within, signal)
	}
}

// code is the exit code of a process that has ended; a signal's is -1.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

// listening waits until the process takes connections.
func (p *process) listening(address string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return await(ctx, p.name+" to listen on "+address, func() (bool, error) {
		if !p.running() {
			return false, fmt.Errorf("%s ended with %d:\n%s", p.name, p.code(), tail(p.log, 20))
		}
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return true, c.Close()
	})
}

// await looks at a condition until it holds, fails, or the context ends.
func await(ctx context.Context, what string, holds func() (bool, error)) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		ok, err := holds()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-ticker.C:
		}
	}
}

func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
