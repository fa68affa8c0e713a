package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// child is one segue service in a process of its own. It is started again whenever it ends, as docker compose would.
type child struct {
	name string
	log  *os.File
	make func(context.Context) *exec.Cmd

	mu       sync.Mutex
	process  *os.Process
	starts   int
	stopping bool
	done     chan struct{}
}

// startChild runs `segue run NAME` with the environment, its output in the folder's NAME.log.
func startChild(ctx context.Context, s *stage, name string, env ...string) (*child, error) {
	log, err := os.OpenFile(filepath.Join(s.logs, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	c := &child{name: name, log: log, done: make(chan struct{})}
	c.make = func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, s.Executable, "run", name)
		cmd.Env = append(os.Environ(), append(s.env, env...)...)
		cmd.Stdout, cmd.Stderr = log, log
		bindToParent(cmd)
		return cmd
	}
	first := make(chan error, 1)
	go c.loop(ctx, first)
	return c, <-first
}

// loop keeps the process running until stop.
func (c *child) loop(ctx context.Context, first chan<- error) {
	defer close(c.done)
	for {
		cmd := c.make(context.WithoutCancel(ctx))
		c.mu.Lock()
		if c.stopping {
			c.mu.Unlock()
			return
		}
		err := cmd.Start()
		if err == nil {
			c.process = cmd.Process
			c.starts++
		}
		c.mu.Unlock()
		if first != nil {
			first <- err
			first = nil
		}
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in its log
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// kill sends SIGKILL: no handler runs, nothing is flushed.
func (c *child) kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return errors.New("not running")
	}
	return c.process.Kill()
}

// stop asks the process to end, and makes it end when it takes too long.
func (c *child) stop(patience time.Duration) {
	c.mu.Lock()
	c.stopping = true
	if c.process != nil {
		_ = c.process.Signal(os.Interrupt)
	}
	c.mu.Unlock()
	select {
	case <-c.done:
	case <-time.After(patience):
		_ = c.kill()
		<-c.done
	}
	_ = c.log.Close()
}

func (c *child) restarts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.starts - 1
}
