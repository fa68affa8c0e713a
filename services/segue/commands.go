package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"segue/pkg/config"
)

// command is one row of the table of commands.
type command struct {
	use, short, long, example string
	// settings names the flags, of the table of settings, that the command takes.
	settings []string
	args     cobra.PositionalArgs
	flags    func(*cobra.Command)
	run      func(*cobra.Command, []string) error
	children []command
}

// everywhere are the settings that each command takes which touches a migration.
var everywhere = []string{"config", "data-dir", "brokers", "registry", "log-level", "log-format"}

// table is every command.
func (p *process) table() []command {
	return []command{
		p.runCommand(), p.checkCommand(), p.statusCommand(), p.reconcileCommand(), p.resyncCommand(), p.deadCommand(), p.sourceCommand(), p.targetCommand(),
		p.demoCommand(),
		p.healthCommand(), p.versionCommand(),
	}
}

func (p *process) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "segue",
		Short: "move a PostgreSQL database to another one while both stay in use",
		Long: `segue moves customer data from a legacy PostgreSQL database to a new one while both stay in
use: it streams every change through Kafka, transforms and applies it, and proves that both
stores agree.

Exit codes: 0 fine, 1 error, 2 usage or settings, 3 check found something, 4 the stores differ,
5 equality was not proved (unknown, or a timeout).`,
		Example: `  segue check -c segue.yaml       # what is missing, and the SQL that mends it
  segue run all -c segue.yaml     # snapshot, then stream, until stopped
  segue status -w                 # where everything stands
  segue reconcile --wait          # prove that both stores agree`,
		SilenceErrors: true, SilenceUsage: true,
		Args: unknown,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.CompletionOptions.HiddenDefaultCmd = false
	for _, c := range p.table() {
		root.AddCommand(c.build())
	}
	return root
}

func (c command) build() *cobra.Command {
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Example: c.example, RunE: c.run,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if c.args == nil {
				return unknown(cmd, args)
			}
			if err := c.args(cmd, args); err != nil {
				return usage(err)
			}
			return nil
		},
	}
	if c.run == nil { // a group of commands
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			return usage(fmt.Errorf("it wants one of: %s", names(cmd)))
		}
	}
	settingFlags(cmd, c.settings)
	if c.flags != nil {
		c.flags(cmd)
	}
	for _, child := range c.children {
		cmd.AddCommand(child.build())
	}
	return cmd
}

// settingFlags adds the flags of the named settings, as the table of settings describes them.
func settingFlags(cmd *cobra.Command, flags []string) {
	wanted := map[string]bool{}
	for _, f := range flags {
		wanted[f] = true
	}
	for _, s := range config.All() {
		if s.Flag != "" && wanted[s.Flag] {
			// The default is the loader's, not the flag's: a flag that was not given leaves the word to the variable.
			cmd.Flags().StringP(s.Flag, s.Short, s.Default, s.Help+" ($"+s.Variable+")")
		}
	}
}

func unknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return usage(fmt.Errorf("unexpected argument %q", args[0]))
	}
	hint := ""
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage(fmt.Errorf("unknown command %q%s", args[0], hint))
}

func names(cmd *cobra.Command) string {
	var out []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			out = append(out, c.Name())
		}
	}
	return strings.Join(out, ", ")
}
