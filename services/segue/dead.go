package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/services/dead"
)

func (p *process) deadCommand() command {
	return command{
		use: "dead", short: "show the parked rows, have them read again, or give them up",
		long: `A row that cannot be taken on for a reason of its own is parked: the target keeps an older version of it, or none,
and everything else goes on (docs/operations/parked.md). These commands show such rows, and end that: retry
has them read again from the source once the cause is mended, discard gives them up.`,
		example:  "  segue dead list\n  segue dead show --table public.orders --key 7\n  segue dead retry --table public.orders\n  segue dead discard --code too_large --reason \"attachments are not moved\"",
		children: []command{p.deadListCommand(), p.deadShowCommand(), p.deadRetryCommand(), p.deadDiscardCommand(), p.deadExportCommand()},
	}
}

// deadFilter are the flags by which parked rows are chosen.
type deadFilter struct {
	tables, codes, key []string
	keys, cause, since string
}

func (f *deadFilter) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.tables, "table", nil, "rows of this source table, or of a pattern such as public.* (may be given several times)")
	cmd.Flags().StringArrayVar(&f.codes, "code", nil, "rows that were parked with this code, such as too_large (may be given several times)")
	cmd.Flags().StringArrayVar(&f.key, "key", nil, `the row with this key; of several columns: '["eu", 7]' (may be given several times)`)
	cmd.Flags().StringVar(&f.keys, "keys", "", "rows with these keys, as resync takes them; @FILE: one a line")
	cmd.Flags().StringVar(&f.cause, "cause", "", "rows that wait for the parked change at this position")
	cmd.Flags().StringVar(&f.since, "since", "", "rows that were parked since then: 2h, 2026-01-31, '2026-01-31 15:04' or RFC 3339")
}

// read makes the filter. All that is wrong is a mistake of the command line.
func (f *deadFilter) read(p *process, cmd *cobra.Command) (out dead.Filter, err error) {
	for _, text := range f.tables {
		pattern, err := migration.ParsePattern(text)
		if err != nil {
			return out, usage(fmt.Errorf("--table %s: %w", text, err))
		}
		out.Tables = append(out.Tables, pattern)
	}
	for _, text := range f.key {
		key, err := dead.ParseKey(text)
		if err != nil {
			return out, usage(fmt.Errorf("--key: %w", err))
		}
		out.Keys = append(out.Keys, key)
	}
	if cmd.Flags().Changed("keys") {
		text, file, err := p.keysText(cmd, f.keys)
		if err != nil {
			return out, usage(fmt.Errorf("--keys: %w", err))
		}
		keys, err := dead.ParseKeys(text, file)
		if err != nil {
			return out, usage(fmt.Errorf("--keys: %w", err))
		}
		out.Keys = append(out.Keys, keys...)
	}
	if cmd.Flags().Changed("cause") { // one that is given and empty is no filter left out: a script's variable was
		at, err := change.ParsePosition(f.cause)
		if err != nil {
			return out, usage(fmt.Errorf("--cause: %w: segue dead list shows positions, such as 1:0/62AFBB8#1", err))
		}
		out.Cause = at.String()
	}
	if cmd.Flags().Changed("since") {
		if out.Since, err = dead.Since(f.since, time.Now()); err != nil {
			return out, usage(fmt.Errorf("--since: %w", err))
		}
	}
	out.Codes = f.codes
	return out, nil
}

func (p *process) deadListCommand() command {
	var (
		form            output
		filter          deadFilter
		limit           int
		groups, pending bool
	)
	return command{
		use: "list", short: "list the parked rows",
		long: `Lists what is parked now, oldest first. Without a filter, and where they are more than 50, they are counted by table,
code and reason. Keys are shown: they are what to act by. The source is not needed.`,
		example:  "  segue dead list\n  segue dead list --table public.orders --since 2h\n  segue dead list --groups\n  segue dead list --cause 1:0/62AFBB8#1 --limit 0\n  segue dead list --pending -o json",
		settings: []string{"config"},
		flags: func(cmd *cobra.Command) {
			form.flag(cmd)
			filter.flags(cmd)
			cmd.Flags().IntVar(&limit, "limit", deadRows, "how many rows a table shows; 0: all, as in JSON")
			cmd.Flags().BoolVar(&groups, "groups", false, "count the rows by table, code and reason, the most first")
			cmd.Flags().BoolVar(&pending, "pending", false, "also the rows that were asked for and have not arrived yet")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			chosen, err := filter.read(p, cmd)
			if err != nil {
				return err
			}
			if limit < 0 {
				return usage(errors.New("--limit is below zero"))
			}
			if pending && (len(chosen.Codes) > 0 || chosen.Cause != "") {
				return usage(errors.New("--pending: rows that were asked for have neither a code nor a cause; leave --code and --cause out"))
			}
			want := dead.Wanted{Filter: chosen, Limit: limit, Groups: groups, Pending: pending}
			limited := cmd.Flags().Changed("limit")
			switch {
			case form.json() && !limited:
				want.Limit = 0
			case !form.json() && !limited:
				want.Many = deadRows
			}
			list, err := p.deadList(cmd, want)
			if err != nil {
				return err
			}
			if form.json() {
				return p.printJSON(list)
			}
			return list.Write(p.stdout)
		},
	}
}

// deadRows is how many rows are listed where nobody says how many.
const deadRows = 50

func (p *process) deadList(cmd *cobra.Command, want dead.Wanted) (list dead.List, err error) {
	err = p.onTarget(cmd, func(ctx context.Context, conn *pgx.Conn, at *pgtarget.Progress) error {
		rows, err := pgtarget.ReadParked(ctx, conn, at.Migration, -1)
		if err != nil {
			return err
		}
		var pending []pgtarget.Pending
		if want.Pending {
			if pending, err = pgtarget.ReadPending(ctx, conn, at.Migration, -1); err != nil {
				return err
			}
		}
		list = dead.MakeList(at, rows, pending, want, time.Now())
		return nil
	})
	return list, err
}

// onTarget does something with the target of the migration, which segue has been at already.
func (p *process) onTarget(cmd *cobra.Command, do func(context.Context, *pgx.Conn, *pgtarget.Progress) error) error {
	s, err := p.settings(cmd)
	if err != nil {
		return err
	}
	spec, err := p.spec(s)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	conn, err := postgres.Connect(ctx, string(spec.Target.Postgres), spec.Name.ApplicationName("dead"))
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer closeConn(ctx, conn)
	at, err := pgtarget.ReadProgress(ctx, conn, string(spec.Name))
	if err != nil {
		return err
	}
	if at == nil {
		return fault.Fatal(fmt.Errorf("the target knows nothing of migration %s, or as an older version of segue knew it", spec.Name),
			"start it once (segue run all, or run applier), or name its file with -c")
	}
	return do(ctx, conn, at)
}

func (p *process) deadExportCommand() command {
	var filter deadFilter
	return command{
		use: "export", short: "write the parked rows as JSON, one a line",
		long: `Writes a line for each parked row: migration, table, key, position of the first and of the newest change, op, stage, code,
reason, size, cause, number of changes, and when it was parked. Nothing else goes to stdout. Keys are lists of texts.`,
		example:  "  segue dead export > parked.jsonl\n  segue dead export --table public.orders | jq -r .key[0]\n  segue dead export --code 23505 | jq -c '[.table, .key]'",
		settings: []string{"config"},
		flags:    filter.flags,
		run: func(cmd *cobra.Command, _ []string) error {
			chosen, err := filter.read(p, cmd)
			if err != nil {
				return err
			}
			return p.onTarget(cmd, func(ctx context.Context, conn *pgx.Conn, at *pgtarget.Progress) error {
				list, err := pgtarget.ReadParked(ctx, conn, at.Migration, -1)
				if err != nil {
					return err
				}
				return dead.Export(p.stdout, at.Migration, chosen.Take(list))
			})
		},
	}
}
