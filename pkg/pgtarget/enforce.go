package pgtarget

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// enforced is the form that a foreign key has while segue writes.
const enforced = " DEFERRABLE INITIALLY DEFERRED"

// notValidParents is the first version that knows NOT VALID on partitioned tables.
const notValidParents = 180000

// EnforceSQL is what EnforceKeys runs, statement by statement.
func EnforceSQL(ctx context.Context, conn *pgx.Conn, migration string) ([]string, error) {
	return planned(ctx, conn, func(tx pgx.Tx) ([]string, error) {
		kept, now, version, err := compare(ctx, tx, migration)
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range kept {
			k := &kept[i]
			add := fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s%s", k.table.SQL(), k.quoted(), k.core, enforced)
			validate := fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", k.table.SQL(), k.quoted())
			there := now[k.place()]
			inForm := there != nil && there.core == k.core && strings.TrimSuffix(there.definition, " NOT VALID") == k.core+enforced
			if there != nil && !inForm {
				out = append(out, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", k.table.SQL(), k.quoted()))
			}
			if k.partitioned && version < notValidParents {
				if !inForm {
					out = append(out, add)
				}
				continue
			}
			if !inForm {
				out = append(out, add+" NOT VALID")
			}
			if k.validated && (!inForm || !there.validated) {
				out = append(out, validate)
			}
		}
		return out, nil
	})
}

func (k *foreignKey) place() string { return k.table.SQL() + "." + k.quoted() }

// compare returns the kept foreign keys, and what the catalog has under their names.
func compare(ctx context.Context, tx pgx.Tx, migration string) (kept []foreignKey, now map[string]*foreignKey, version int, err error) {
	if kept, err = keptKeys(ctx, tx, migration); err != nil {
		return nil, nil, 0, err
	}
	now = map[string]*foreignKey{}
	tables := make([]table.Name, len(kept))
	for i := range kept {
		tables[i] = kept[i].table
	}
	present, err := foreignKeysOf(ctx, tx, tables)
	if err != nil {
		return nil, nil, 0, err
	}
	for i := range present {
		now[present[i].place()] = &present[i]
	}
	err = tx.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int`).Scan(&version)
	return kept, now, version, err
}

// EnforceKeys makes the kept foreign keys again, NO ACTION and DEFERRABLE, and validates them. Rows without a parent stop it
// with an OrphanError. Each statement is a transaction of its own: what is done stays, also behind a crash.
func EnforceKeys(ctx context.Context, conn *pgx.Conn, migration string) error {
	sql, err := EnforceSQL(ctx, conn, migration)
	if err != nil {
		return err
	}
	for i, s := range sql {
		err := alter(ctx, conn, "enforce foreign keys", []string{s}, sql[i:])
		if postgres.SQLState(err) == codeForeignKey {
			return orphans(ctx, conn, migration, s, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// orphans says which constraint it was that the statement could not validate, and how many rows are in its way.
func orphans(ctx context.Context, conn *pgx.Conn, migration, sql string, cause error) error {
	out := &OrphanError{Rows: -1}
	count := ""
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		kept, err := keptKeys(ctx, tx, migration)
		if err != nil {
			return err
		}
		for i := range kept {
			if strings.HasPrefix(sql, "ALTER TABLE "+kept[i].table.SQL()+" ") && strings.Contains(sql, " CONSTRAINT "+kept[i].quoted()) {
				out.Constraint, out.Table = kept[i].name, kept[i].table
				count = kept[i].orphans
				return tx.QueryRow(ctx, "SELECT pg_catalog.count(*) "+count).Scan(&out.Rows)
			}
		}
		return nil
	})
	if out.Constraint == "" {
		return cause
	}
	if err != nil {
		out.Rows = -1 // the count is a help, its failure hides nothing
	}
	return fault.Fatal(out, "the source has them too, or they were on the target before: mend them, then start again; they are\nSELECT * "+count)
}

// FinishSQL is what FinishKeys runs.
func FinishSQL(ctx context.Context, conn *pgx.Conn, migration string) ([]string, error) {
	return planned(ctx, conn, func(tx pgx.Tx) ([]string, error) {
		kept, now, version, err := compare(ctx, tx, migration)
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range kept {
			out = append(out, finishOne(&kept[i], now[kept[i].place()], version)...)
			out = append(out, fmt.Sprintf("DELETE FROM segue.foreign_keys WHERE schema_name = %s AND table_name = %s AND constraint_name = %s",
				literal(kept[i].table.Schema), literal(kept[i].table.Table), literal(kept[i].name)))
		}
		return out, nil
	})
}

func finishOne(k, now *foreignKey, version int) []string {
	var out []string
	alterTable := "ALTER TABLE " + k.table.SQL()
	oneStep := k.partitioned && version < notValidParents
	switch {
	case now != nil && now.definition == k.definition && now.validated == k.validated:
	case now != nil && k.validated && now.definition == k.definition+" NOT VALID":
		out = append(out, alterTable+" VALIDATE CONSTRAINT "+k.quoted())
	default:
		if now != nil {
			out = append(out, alterTable+" DROP CONSTRAINT "+k.quoted())
		}
		add := alterTable + " ADD CONSTRAINT " + k.quoted() + " " + k.definition
		if k.validated && !oneStep {
			out = append(out, add+" NOT VALID", alterTable+" VALIDATE CONSTRAINT "+k.quoted())
		} else {
			out = append(out, add)
		}
	}
	if k.comment != nil {
		out = append(out, fmt.Sprintf("COMMENT ON CONSTRAINT %s ON %s IS %s", k.quoted(), k.table.SQL(), literal(*k.comment)))
	}
	return out
}

// FinishKeys gives the foreign keys back as they were before PrepareKeys.
func FinishKeys(ctx context.Context, conn *pgx.Conn, migration string) error {
	sql, err := FinishSQL(ctx, conn, migration)
	if err != nil {
		return err
	}
	for i, s := range sql {
		if err := alter(ctx, conn, "give back foreign keys", []string{s}, sql[i:]); err != nil {
			return err
		}
	}
	return nil
}
