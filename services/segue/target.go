package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

func (p *process) targetCommand() command {
	return command{
		use: "target", short: "prepare the target for the migration, and finish it",
		long: `While segue writes, foreign keys of and to its target tables are NO ACTION and DEFERRABLE: an ON DELETE
CASCADE there would delete rows that the stream does not know of. "run" does both steps by itself where it may.`,
		example: "  segue target prepare --sql   # print what the tables' owner has to run\n  segue target finish          # after cutover: foreign keys as they were",
		children: []command{
			p.targetStep("prepare", "keep the foreign keys' definitions and take them away for the initial load", prepareStep),
			p.targetStep("finish", "give the foreign keys back as they were before", finishStep),
		},
	}
}

// step works on the target's foreign keys.
type step struct {
	sql func(context.Context, *pgx.Conn, *migration.Spec) ([]string, error)
	run func(context.Context, *pgx.Conn, *migration.Spec) error
	// behind runs after it, whether there was anything to do or not, and returns notes for people.
	behind func(context.Context, *pgx.Conn, *migration.Spec) ([]string, error)
}

var (
	prepareStep = step{
		sql: func(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) ([]string, error) {
			tables, err := targetTables(ctx, spec)
			if err != nil {
				return nil, err
			}
			return pgtarget.PrepareSQL(ctx, conn, string(spec.Name), tables)
		},
		run: func(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) error {
			tables, err := targetTables(ctx, spec)
			if err != nil {
				return err
			}
			return pgtarget.PrepareKeys(ctx, conn, string(spec.Name), tables)
		},
	}
	finishStep = step{
		sql: func(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) ([]string, error) {
			return pgtarget.FinishSQL(ctx, conn, string(spec.Name))
		},
		run: func(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) error {
			return pgtarget.FinishKeys(ctx, conn, string(spec.Name))
		},
		behind: func(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) ([]string, error) {
			if err := pgtarget.DropOrigin(ctx, conn, string(spec.Name)); err != nil {
				return nil, err
			}
			tables, err := targetTables(ctx, spec)
			if err != nil { // the source may be gone for good by now
				return []string{"the sequences were not moved again: " + err.Error()}, nil
			}
			return pgtarget.MoveSequences(ctx, conn, tables)
		},
	}
)

func targetTables(ctx context.Context, spec *migration.Spec) ([]table.Name, error) {
	p, err := readPlan(ctx, spec)
	if err != nil {
		return nil, err
	}
	var out []table.Name
	for _, t := range p.mapping.Targets() {
		out = append(out, t.Table.Name)
	}
	return out, nil
}

func (p *process) targetStep(name, short string, s step) command {
	var sql bool
	return command{
		use: name, short: short,
		example:  "  segue target " + name + "\n  segue target " + name + " --sql | psql \"$TARGET_URL\"",
		settings: []string{"config"},
		flags:    func(cmd *cobra.Command) { cmd.Flags().BoolVar(&sql, "sql", false, "print the statements, run nothing") },
		run: func(cmd *cobra.Command, _ []string) error {
			settings, err := p.settings(cmd)
			if err != nil {
				return err
			}
			spec, err := p.spec(settings)
			if err != nil {
				return err
			}
			conn, err := postgres.Connect(cmd.Context(), string(spec.Target.Postgres), spec.Name.ApplicationName("target"))
			if err != nil {
				return err
			}
			defer closeConn(cmd.Context(), conn)
			return p.targetRun(cmd.Context(), conn, spec, s, sql)
		},
	}
}

func (p *process) targetRun(ctx context.Context, conn *pgx.Conn, spec *migration.Spec, s step, onlyPrint bool) error {
	statements, err := s.sql(ctx, conn, spec)
	if err != nil {
		return err
	}
	if onlyPrint {
		_, err := fmt.Fprint(p.stdout, script(statements))
		return err
	}
	if len(statements) == 0 {
		_, _ = fmt.Fprintln(p.stderr, "foreign keys: nothing to do")
	} else {
		if err := pgtarget.EnsureSchema(ctx, conn); err != nil {
			return err
		}
		if err := s.run(ctx, conn, spec); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(p.stderr, "foreign keys: done, %s\n", count(len(statements), "statement"))
	}
	if s.behind == nil {
		return nil
	}
	notes, err := s.behind(ctx, conn, spec)
	for _, n := range notes {
		_, _ = fmt.Fprintln(p.stderr, n)
	}
	return err
}

func script(statements []string) string {
	var b strings.Builder
	for _, s := range statements {
		b.WriteString(s + ";\n")
	}
	return b.String()
}
