package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"segue/pkg/config"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/table"
	"segue/services/check"
)

func (p *process) checkCommand() command {
	var form output
	return command{
		use: "check", short: "look for everything that a migration needs",
		long: `Looks at both databases (versions, settings, privileges), each table's identity, the mapping, Kafka, the
registry and Redis, and says for each finding the SQL or the line that mends it. Changes nothing.
Ends with exit code 3 if a finding keeps the migration from starting.`,
		example:  "  segue check\n  segue check -c shop.yaml -o json",
		settings: everywhere,
		flags:    form.flag,
		run: func(cmd *cobra.Command, _ []string) error {
			s, err := p.settings(cmd)
			if err != nil {
				return err
			}
			found, err := p.check(cmd, s)
			if err != nil {
				return err
			}
			if form.json() {
				if found == nil {
					found = []check.Finding{}
				}
				err = p.printJSON(found)
			} else {
				err = p.printFindings(found)
			}
			if err == nil && check.Errors(found) > 0 {
				err = &ending{code: exitFindings}
			}
			return err
		},
	}
}

func (p *process) check(cmd *cobra.Command, s *config.Settings) ([]check.Finding, error) {
	spec, err := p.spec(s)
	var ds migration.Diagnostics
	if errors.As(err, &ds) {
		return check.Diagnostics(ds), nil
	}
	if err != nil {
		return nil, err
	}
	c := check.Config{
		Spec: spec, Redis: s.Redis,
		Topics: func(tables []*table.Table, brokers int) []kafka.Topic {
			return topics(spec, tables, config.Staged, brokers)
		},
	}
	if !s.Embedded() {
		servers, err := given(s)
		if err != nil {
			return nil, err
		}
		c.Kafka, c.Registry = &servers.kafka, servers.registry
	}
	return check.Run(cmd.Context(), c), nil
}

func (p *process) printFindings(found []check.Finding) error {
	for _, f := range found {
		_, err := fmt.Fprintf(p.stdout, "%-8s %s\n         %s\n", strings.ToUpper(string(f.Severity)), f.Object, strings.ReplaceAll(f.Text, "\n", "\n         "))
		if err == nil && f.Mend != "" {
			_, err = fmt.Fprintf(p.stdout, "         → %s\n", strings.ReplaceAll(f.Mend, "\n", "\n           "))
		}
		if err != nil {
			return err
		}
	}
	n := check.Errors(found)
	switch {
	case n > 0:
		_, _ = fmt.Fprintf(p.stderr, "%s and %s: the migration cannot run yet\n", count(n, "error"), count(len(found)-n, "warning"))
	case len(found) > 0:
		_, _ = fmt.Fprintf(p.stderr, "no error and %s: the migration can run\n", count(len(found), "warning"))
	default:
		_, _ = fmt.Fprintln(p.stderr, "nothing found: the migration can run")
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
