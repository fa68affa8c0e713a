package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *process) versionCommand() command {
	var form output
	return command{
		use: "version", short: "show what this binary was built from",
		example: "  segue version\n  segue version -o json",
		flags:   form.flag,
		run: func(*cobra.Command, []string) error {
			b := p.build()
			if form.json() {
				return p.printJSON(b)
			}
			_, err := fmt.Fprintf(p.stdout, "segue %s (%s, %s, %s)\n", b.Version, b.Revision, b.Go, b.Platform)
			return err
		},
	}
}

// output is the -o flag: a table for people or JSON for machines.
type output string

func (o *output) flag(cmd *cobra.Command) {
	*o = "table"
	cmd.Flags().VarP(o, "output", "o", "table or json")
}

func (o *output) String() string { return string(*o) }

// Type is what cobra shows for the flag's value.
func (o *output) Type() string { return "format" }

// Set takes the flag's value.
func (o *output) Set(v string) error {
	if v != "table" && v != "json" {
		return fmt.Errorf("%q is neither table nor json", v)
	}
	*o = output(v)
	return nil
}

func (o *output) json() bool { return *o == "json" }

func (p *process) printJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
