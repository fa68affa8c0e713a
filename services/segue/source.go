package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"segue/pkg/fault"
	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
)

func (p *process) sourceCommand() command {
	var sql bool
	return command{
		use: "source", short: "remove what segue made on the source",
		long: `While a migration runs, the source has a replication slot and a publication of it. The slot holds back the
source's log from the moment on that nobody reads it, so it must go when the migration is over.`,
		example: "  segue source finish          # after cutover, or to give a migration up\n  segue source finish --sql    # print the statements",
		children: []command{{
			use: "finish", short: "drop the slot, then the publication; refused while a reader is active",
			long: `Drops the migration's slot, then its publication. What is not there is no error, so it may be run again behind
whatever cut it short. Behind it the migration can go on only by reading all tables again (--new-history).`,
			example:  "  segue source finish\n  segue source finish --sql | psql \"$LEGACY_URL\"",
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
				conn, err := postgres.Connect(cmd.Context(), string(spec.Source.Postgres), spec.Name.ApplicationName("source"))
				if err != nil {
					return err
				}
				defer closeConn(cmd.Context(), conn)
				return p.sourceFinish(cmd.Context(), conn, spec, sql)
			},
		}},
	}
}

func (p *process) sourceFinish(ctx context.Context, conn *pgx.Conn, spec *migration.Spec, onlyPrint bool) error {
	setup := pgsource.Setup{Slot: spec.Name.Slot(), Publication: spec.Name.Publication()}
	left, err := pgsource.DropSQL(ctx, conn, setup)
	if err != nil {
		return err
	}
	if onlyPrint {
		_, err := fmt.Fprint(p.stdout, script(left))
		return err
	}
	if len(left) == 0 {
		_, _ = fmt.Fprintln(p.stderr, "source: nothing to do")
		return nil
	}
	err = pgsource.Drop(ctx, conn, setup)
	if postgres.SQLState(err) == "55006" {
		err = fault.Fatal(pgsource.WithHolder(ctx, conn, setup.Slot, fmt.Errorf("a reader is active, nothing was dropped: %w", errors.Unwrap(err))),
			"stop the reader first")
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.stderr, "source: done, %s\n", count(len(left), "statement"))
	return nil
}
