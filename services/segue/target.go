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
CASCADE there would delete rows that the stream does not know of. With target.indexes: after_load in segue.yaml, secondary
indexes of empty tables go for the load, too. "run" does all of it by itself where it may.`,
		example: "  segue target prepare --sql   # print what the tables' owner has to run\n  segue target finish          # after cutover: foreign keys and indexes as they were",
		children: []command{
			p.targetStep("prepare", "keep foreign keys (and indexes, with target.indexes: after_load) and take them away for the initial load", prepareStep),
			p.targetStep("finish", "give foreign keys and indexes back as they were before", finishStep),
		},
	}
}

// step works on the target's foreign keys and indexes.
type step struct {
	sql func(context.Context, *pgx.Conn, *migration.Spec) ([]string, error)
	// run returns notes for people, as behind does.
	run func(context.Context, *pgx.Conn, *migration.Spec) ([]string, error)
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
			sql, err := pgtarget.PrepareSQL(ctx, conn, string(spec.Name), tables)
			if err != nil || spec.Target.Indexes != migration.IndexesAfterLoad {
				return sql, err
			}
			more, err := pgtarget.DropIndexesSQL(ctx, conn, string(spec.Name), tables)
			return append(sql, more...), err
		},
		run: func(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) ([]string, error) {
			tables, err := targetTables(ctx, spec)
			if err != nil {
				return nil, err
			}
			if err := pgtarget.PrepareKeys(ctx, conn, string(spec.Name), tables); err != nil || spec.Target.Indexes != migration.IndexesAfterLoad {
				return nil, err
			}
			return nil, pgtarget.DropIndexes(ctx, conn, string(spec.Name), tables)
		},
	}
	finishStep = step{
		sql: func(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) ([]string, error) {
			sql, err := pgtarget.RestoreIndexesSQL(ctx, conn, string(spec.Name))
			if err != nil {
				return nil, err
			}
			more, err := pgtarget.FinishSQL(ctx, conn, string(spec.Name))
			return append(sql, more...), err
		},
		run: func(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) ([]string, error) {
			notes, err := pgtarget.RestoreIndexes(ctx, pgtarget.IndexBuild{URL: string(spec.Target.Postgres), App: spec.Name.ApplicationName("target"),
				Migration: string(spec.Name), Workers: spec.Target.IndexWorkers})
			if err != nil {
				return nil, err
			}
			gone, err := pgtarget.GoneKeys(ctx, conn, string(spec.Name))
			if err != nil {
				return notes, err
			}
			return append(notes, gone...), pgtarget.FinishKeys(ctx, conn, string(spec.Name))
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
	if !onlyPrint { // an older segue's schema may lack what the statements are worked out from
		if err := pgtarget.EnsureSchema(ctx, conn); err != nil {
			return err
		}
	}
	statements, err := s.sql(ctx, conn, spec)
	if err != nil {
		return err
	}
	if onlyPrint {
		_, err := fmt.Fprint(p.stdout, script(statements))
		return err
	}
	if len(statements) == 0 {
		_, _ = fmt.Fprintln(p.stderr, "foreign keys and indexes: nothing to do")
	} else {
		notes, err := s.run(ctx, conn, spec)
		for _, n := range notes {
			_, _ = fmt.Fprintln(p.stderr, n)
		}
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(p.stderr, "foreign keys and indexes: done, %s\n", count(len(statements), "statement"))
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
