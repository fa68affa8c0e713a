package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"segue/pkg/fault"
	"segue/pkg/service"
	"segue/pkg/telemetry"
	"segue/services/status"
)

func (p *process) healthCommand() command {
	var (
		form output
		live bool
		wait time.Duration
	)
	return command{
		use: "health", short: "ask a running process whether it is ready",
		long: `Asks the process that listens on SEGUE_LISTEN for /readyz and ends with exit code 0 if every one of its
components does its work, else 1, with what they wait for. For health checks in containers that have
no shell.`,
		example:  "  segue health\n  segue health --listen 127.0.0.1:7071\n  segue health --live",
		settings: []string{"listen"},
		flags: func(cmd *cobra.Command) {
			form.flag(cmd)
			cmd.Flags().BoolVar(&live, "live", false, "ask only whether the process runs (/livez)")
			cmd.Flags().DurationVar(&wait, "timeout", 3*time.Second, "how long an answer may take")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			s, err := p.settings(cmd)
			if err != nil {
				return err
			}
			if s.Listen == "" {
				return usage(errors.New("SEGUE_LISTEN is off: there is nobody to ask"))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			return p.health(ctx, s.Listen, live, form.json())
		},
	}
}

func (p *process) health(ctx context.Context, listen string, live, asJSON bool) error {
	page := "/readyz"
	if live {
		page = "/livez"
	}
	r, err := ask(ctx, listen, page, live)
	if err != nil {
		return err
	}
	if asJSON {
		if err := p.printJSON(r); err != nil {
			return err
		}
	}
	for _, c := range r.Components {
		if !asJSON {
			_, _ = fmt.Fprintln(p.stdout, describe(c, r.Now))
		}
	}
	if !r.Ready {
		return &ending{code: exitError}
	}
	return nil
}

// describe is a component's state in a line.
func describe(c service.State, now time.Time) string {
	line := fmt.Sprintf("%-12s %s for %s", c.Name, c.Phase, status.Age(now.Sub(c.Since)))
	if c.Waiting != "" {
		line += ": " + c.Waiting
	}
	if c.Attempt > 0 {
		line += fmt.Sprintf(" (attempt %d)", c.Attempt)
	}
	return line
}

func ask(ctx context.Context, listen, page string, live bool) (telemetry.Report, error) {
	var r telemetry.Report
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return r, usage(err)
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+page, nil)
	if err != nil {
		return r, usage(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, fault.Fatal(fmt.Errorf("ask %s: %w", listen, err), "is a segue process running, and with this SEGUE_LISTEN?")
	}
	defer func() { _ = resp.Body.Close() }()
	if live {
		r.Ready = resp.StatusCode == http.StatusOK
		return r, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return r, fault.Fatal(fmt.Errorf("ask %s: the answer is not segue's: %w", listen, err), "set SEGUE_LISTEN to the address of a segue process")
	}
	return r, nil
}
