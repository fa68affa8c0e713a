package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"segue/pkg/kafka"
	"segue/pkg/wire"
	"segue/services/status"
)

func (p *process) statusCommand() command {
	var (
		form  output
		watch bool
		every time.Duration
	)
	return command{
		use: "status", short: "show where the migration stands",
		long: `Shows the source's log and slot, each stage's frontier, the target's progress and the initial load. Every number
has an age. What cannot be reached is said, the rest is shown.`,
		example:  "  segue status\n  segue status -w\n  segue status -o json",
		settings: everywhere,
		flags: func(cmd *cobra.Command) {
			form.flag(cmd)
			cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again and again, in place")
			cmd.Flags().DurationVar(&every, "every", 2*time.Second, "how often, with -w")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			c, err := p.statusConfig(cmd)
			if err != nil {
				return err
			}
			show := func(r status.Report) error {
				if form.json() {
					return p.printJSON(r)
				}
				return p.printStatus(r, watch)
			}
			return watchStatus(cmd.Context(), c, show, watch, every)
		},
	}
}

func (p *process) statusConfig(cmd *cobra.Command) (status.Config, error) {
	s, err := p.settings(cmd)
	if err != nil {
		return status.Config{}, err
	}
	spec, err := p.spec(s)
	if err != nil {
		return status.Config{}, err
	}
	c := status.Config{Spec: spec}
	servers, err := find(s)
	if err != nil {
		c.Reason = err.Error()
		return c, nil
	}
	registry, err := servers.schemas(spec)
	if err != nil {
		return c, err
	}
	c.Kafka = &servers.kafka
	c.Codec = func(ctx context.Context, topic string) (kafka.Codec, error) {
		return wire.NewFrontiers(ctx, registry, topic)
	}
	return c, nil
}

func watchStatus(ctx context.Context, c status.Config, show func(status.Report) error, watch bool, every time.Duration) error {
	var last *status.Report
	for {
		r := status.Look(ctx, c, last)
		if ctx.Err() != nil {
			return nil
		}
		if err := show(r); err != nil || !watch {
			return err
		}
		last = &r
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// printStatus writes the report as a page; in place where it is refreshed on a screen.
func (p *process) printStatus(r status.Report, again bool) error {
	var b strings.Builder
	if again && p.screen {
		b.WriteString("\x1b[H\x1b[2J")
	}
	status.Write(&b, r)
	if again && !p.screen {
		b.WriteString("\n")
	}
	_, err := io.WriteString(p.stdout, b.String())
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
