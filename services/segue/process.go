package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"segue/pkg/config"
	"segue/pkg/fault"
	"segue/pkg/migration"
	"segue/pkg/telemetry"
)

// process is what a command sees of the world outside.
type process struct {
	stdout, stderr io.Writer
	lookup         func(string) (string, bool)
	readFile       func(string) ([]byte, error)
	executable     func() (string, error)
	terminal       bool // stderr is one: progress is drawn in place
	screen         bool // stdout is one: tables may be refreshed in place
	version        string
}

// The exit codes.
const (
	exitFine      = 0
	exitError     = 1 // something went wrong
	exitUsage     = 2 // the command line or a setting
	exitFindings  = 3 // check found something that stops the migration
	exitDiffer    = 4 // the stores differ
	exitNotProved = 5 // equality could not be proved: unknown, or a timeout
)

// ending is an error with its exit code. A silent one has been told already.
type ending struct {
	code int
	err  error
}

func (e *ending) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *ending) Unwrap() error { return e.err }

func usage(err error) error { return &ending{code: exitUsage, err: err} }

// run runs one command line and returns the exit code.
func (p *process) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return p.tell(cmd, err)
}

// tell says what failed, where, and what to do.
func (p *process) tell(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitFine
	}
	var e *ending
	if !errors.As(err, &e) {
		e = &ending{code: exitError, err: err}
	}
	if e.err == nil {
		return e.code
	}
	var (
		problems    config.Problems
		diagnostics migration.Diagnostics
	)
	switch {
	case errors.As(err, &problems):
		_, _ = fmt.Fprintf(p.stderr, "%s: %d of the settings are wrong\n%s\n", cmd.CommandPath(), len(problems), indent(problems.Error()))
	case errors.As(err, &diagnostics):
		_, _ = fmt.Fprintln(p.stderr, diagnostics.Error())
	default:
		_, _ = fmt.Fprintf(p.stderr, "%s: %s\n", cmd.CommandPath(), err)
	}
	if hint := fault.HintOf(err); hint != "" {
		_, _ = fmt.Fprintln(p.stderr, indent("hint: "+hint))
	}
	if e.code == exitUsage && problems == nil {
		_, _ = fmt.Fprintf(p.stderr, "  see: %s --help\n", cmd.CommandPath())
	}
	return e.code
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

func (p *process) getenv(v string) string {
	s, _ := p.lookup(v)
	return s
}

// settings reads how this process runs: flags, then variables.
func (p *process) settings(cmd *cobra.Command) (*config.Settings, error) {
	s, err := config.Load(config.Lookup{
		Getenv:   p.getenv,
		ReadFile: p.readFile,
		Flag: func(name string) (string, bool) {
			f := cmd.Flags().Lookup(name)
			if f == nil || !f.Changed {
				return "", false
			}
			return f.Value.String(), true
		},
	})
	if err != nil {
		return nil, usage(err)
	}
	return s, nil
}

// spec reads what is migrated.
func (p *process) spec(s *config.Settings) (*migration.Spec, error) {
	text, err := p.readFile(s.Migration)
	if err != nil {
		return nil, fault.Fatal(fmt.Errorf("read the migration's file: %w", err), "write one (see the README), or name it with -c or SEGUE_CONFIG")
	}
	spec, err := migration.Parse(migration.Input{Path: s.Migration, Text: text, Getenv: p.lookup, ReadFile: p.readFile})
	if err == nil && spec.Kafka.Wire == migration.WireAvro && !s.Embedded() && s.Registry.URL == "" {
		return nil, usage(config.Problems{{Variable: "SEGUE_REGISTRY_URL", Text: "brokers are set, but no schema registry: " +
			"set the URL of a Confluent-compatible one, such as http://localhost:8081, or kafka.wire: json in " + s.Migration + " for a new migration"}})
	}
	return spec, err
}

func (p *process) build() telemetry.Build { return telemetry.ReadBuild(p.version) }
