package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"segue/pkg/change"
	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/pkg/reconcile"
	"segue/pkg/table"
)

// resyncOptions are what somebody asks for.
type resyncOptions struct {
	form        output
	tables      []string
	keys, where string
	differences bool
	wait        bool
	timeout     time.Duration
}

func (p *process) resyncCommand() command {
	var o resyncOptions
	noWait := false
	return command{
		use: "resync", short: "read tables, or some of their rows, again from the source while the stream runs",
		long: `Reads tables again, compares them, and mends what still differs: rows that the target has and the source has not
are asked for by key and come as deletes. Nothing is deleted by range, and the stream goes on meanwhile. The request is kept
in Kafka: what is interrupted goes on, and the same command again waits for it or does it again, which is harmless.

--keys takes values with commas between for a key of one column, else one JSON array or object a key, such as
'["eu", 7] ["us", 8]' or '{"region": "eu", "n": 7}'; @FILE has one key a line, @- is standard input.
--where takes an SQL predicate over the table's own columns, which the source evaluates in a read-only transaction.
--differences leaves out the reading: what a comparison finds to differ is all that is read. That is the cheaper way where
little differs, and the way behind --new-history, which has read all tables.

Ends with exit code 0 (the tables passed a comparison, or the keys were read again), 4 (they differ still) or 5 (not
proved in time).`,
		example:  "  segue resync --table public.orders\n  segue resync --table public.orders --keys 1,2,3\n  segue resync --table public.orders --where \"status = 'open'\"\n  segue resync --table 'public.*' --no-wait",
		settings: everywhere,
		flags: func(cmd *cobra.Command) {
			o.form.flag(cmd)
			cmd.Flags().StringArrayVar(&o.tables, "table", nil, "a source table, or a pattern such as public.* (may be given several times)")
			cmd.Flags().StringVar(&o.keys, "keys", "", "read only the rows with these keys; @FILE: one a line")
			cmd.Flags().StringVar(&o.where, "where", "", "read only the rows for which this SQL predicate holds")
			cmd.Flags().BoolVar(&o.differences, "differences", false, "read only the rows that a comparison finds to differ")
			cmd.Flags().BoolVar(&o.wait, "wait", true, "wait until the tables are read, compare them, and mend what differs")
			cmd.Flags().BoolVar(&noWait, "no-wait", false, "only ask; rows that the target has too many stay until the command is run without this")
			cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "how long to wait; 0: as long as it takes")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			o.wait = o.wait && !noWait
			return p.resync(cmd, &o)
		},
	}
}

func (p *process) resync(cmd *cobra.Command, o *resyncOptions) error {
	if len(o.tables) == 0 {
		return usage(errors.New("which tables? name them with --table, such as --table public.orders or --table 'public.*'"))
	}
	which := 0
	for _, given := range []bool{cmd.Flags().Changed("keys"), cmd.Flags().Changed("where"), o.differences} {
		if given {
			which++
		}
	}
	if which > 1 || o.differences && !o.wait {
		return usage(errors.New("--keys, --where and --differences: one of them, and --differences wants to wait"))
	}
	given := cmd.Flags().Changed("keys") || cmd.Flags().Changed("where")
	if cmd.Flags().Changed("where") && strings.TrimSpace(o.where) == "" {
		return usage(errors.New("--where is empty: leave it out to read whole tables"))
	}
	ctx := cmd.Context()
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	r, err := p.openResync(cmd)
	if err != nil {
		return err
	}
	defer r.close()
	if r.tables, err = chosen(r.plan.mapping, o.tables); err != nil {
		return usage(err)
	}
	if given && len(r.tables) != 1 {
		return usage(fmt.Errorf("--keys and --where are for one table, these are %d", len(r.tables)))
	}
	if given && r.tables[0].Keyless() {
		return usage(fmt.Errorf("%s has no key: it can only be read again whole, without --keys and --where", r.tables[0].Name))
	}
	r.where, r.differences = o.where, o.differences
	if cmd.Flags().Changed("keys") {
		if r.keys, err = p.readKeys(cmd, r.tables[0], o.keys); err != nil {
			return usage(fmt.Errorf("--keys: %w", err))
		}
	}
	report, err := r.run(ctx, o.wait)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil && cmd.Context().Err() == nil {
		report.Verdict, report.Reason, err = reconcile.Unknown, "the time is over; the requests stay, and the same command goes on", nil
	}
	if err != nil {
		return err
	}
	if o.form.json() {
		err = p.printJSON(report)
	} else {
		err = report.write(p.stdout)
	}
	if err != nil || report.Verdict == "" {
		return err
	}
	return verdict(report.Verdict)
}

// readKeys reads the keys that were given, or the file that they are in.
func (p *process) readKeys(cmd *cobra.Command, t *table.Table, text string) ([]change.Row, error) {
	text, file, err := p.keysText(cmd, text)
	if err != nil {
		return nil, err
	}
	return keysOf(t, text, file)
}

// keysText is the text itself, or what is in the file that it names.
func (p *process) keysText(cmd *cobra.Command, text string) (string, bool, error) {
	name, file := strings.CutPrefix(text, "@")
	if !file {
		return text, false, nil
	}
	var content []byte
	var err error
	if name == "-" {
		content, err = io.ReadAll(cmd.InOrStdin())
	} else {
		content, err = p.readFile(name)
	}
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return "", true, fmt.Errorf("read %s: %w", name, err)
	}
	return string(content), true, nil
}

// chosen are the source tables that names and patterns stand for, in the order of the migration. A target table's name stands for its source.
func chosen(m *mapping.Mapping, texts []string) ([]*table.Table, error) {
	picked := map[table.Name]bool{}
	var names []string
	for _, rule := range m.Rules() {
		names = append(names, rule.Source().Name.String())
	}
	for _, text := range texts {
		pattern, err := migration.ParsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("--table %s: %w", text, err)
		}
		found := false
		for _, rule := range m.Rules() {
			if pattern.Match(rule.Source().Name) {
				found, picked[rule.Source().Name] = true, true
			}
		}
		for _, rule := range m.Rules() {
			if !found && pattern.Match(rule.Target().Table.Name) {
				picked[rule.Source().Name] = true
			}
		}
		if len(picked) == 0 || !found && !slices.ContainsFunc(m.Rules(), func(r *mapping.Rule) bool { return pattern.Match(r.Target().Table.Name) }) {
			return nil, fmt.Errorf("--table %s: the migration has no such table%s", text, migration.DidYouMean(text, names))
		}
	}
	var out []*table.Table
	for _, t := range m.Sources() {
		if picked[t.Name] {
			out = append(out, t)
		}
	}
	return out, nil
}

// resyncReport is the outcome, for people and programs. Without a verdict nothing was to be proved.
type resyncReport struct {
	Migration string            `json:"migration"`
	Verdict   reconcile.Verdict `json:"verdict,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Seconds   float64           `json:"seconds"`
	Tables    []*resyncedTable  `json:"tables"`
	details   func(io.Writer) error
}

// resyncedTable is one source table.
type resyncedTable struct {
	Table   string            `json:"table"`
	Asked   string            `json:"asked"`             // what was asked for: whole, keys, where or differences
	Keys    int               `json:"keys,omitempty"`    // that were given
	ReadAt  string            `json:"read_at,omitempty"` // the position at which all of it was read
	Seconds float64           `json:"seconds"`           // until then
	Removed int64             `json:"removed"`           // rows that the target had too many, asked for by key
	Mended  int64             `json:"mended"`            // rows that differed behind the read all the same, asked for by key
	Left    int64             `json:"left"`              // differing rows that could not be asked for
	Verdict reconcile.Verdict `json:"verdict,omitempty"`
	Rows    int64             `json:"rows,omitempty"`
	At      string            `json:"at,omitempty"` // the position that the verdict holds at
	Reason  string            `json:"reason,omitempty"`
}

func (r *resyncReport) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "TABLE\tASKED\tREAD AT\tSECONDS\tREMOVED\tMENDED\tVERDICT\tROWS\tAT")
	for _, t := range r.Tables {
		rows := ""
		if t.Verdict != "" {
			rows = fmt.Sprint(t.Rows)
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%.1f\t%d\t%d\t%s\t%s\t%s\n", t.Table, t.Asked, orDash(t.ReadAt), t.Seconds, t.Removed, t.Mended,
			orDash(string(t.Verdict)), orDash(rows), orDash(t.At))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, t := range r.Tables {
		if t.Reason != "" {
			_, _ = fmt.Fprintf(w, "%s: %s\n", t.Table, t.Reason)
		}
	}
	if r.details != nil {
		if err := r.details(w); err != nil {
			return err
		}
	}
	if r.Reason != "" {
		_, _ = fmt.Fprintln(w, r.Reason)
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
