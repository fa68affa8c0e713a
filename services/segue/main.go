// Command segue moves customer data from one PostgreSQL database to another while both stay in use. This is the only
// package main: an explicit table of commands, the composition of the services from their parts, and the only place that knows
// signals, exit codes and the process's environment.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

// version is set by the linker for a release.
var version string

// drain bounds how long a stop may take: container runtimes kill after 30 seconds.
const drain = 25 * time.Second

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go stop(signals, cancel)
	p := &process{
		stdout: os.Stdout, stderr: os.Stderr,
		lookup: os.LookupEnv, readFile: os.ReadFile, executable: os.Executable,
		terminal: term.IsTerminal(int(os.Stderr.Fd())), screen: term.IsTerminal(int(os.Stdout.Fd())),
		version: version,
	}
	code := p.run(ctx, os.Args[1:])
	cancel()
	os.Exit(code)
}

// stop drains at the first signal and ends the process at the second, or when draining takes too long. Nothing is lost
// by that: rows and progress commit together, so the next start goes on behind the last commit.
func stop(signals <-chan os.Signal, cancel func()) {
	s := <-signals
	cancel()
	select {
	case <-signals:
		fmt.Fprintln(os.Stderr, "segue: stopped at the second signal; the next start goes on behind the last commit")
	case <-time.After(drain):
		fmt.Fprintf(os.Stderr, "segue: still busy %s after %s; stopped; the next start goes on behind the last commit\n", drain, s)
	}
	os.Exit(exitError)
}
