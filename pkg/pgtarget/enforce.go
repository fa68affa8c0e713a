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

// EnforceSQL is what EnforceKeys runs on the target's tables, statement by statement.
func EnforceSQL(ctx context.Context, conn *pgx.Conn, migration string) ([]string, error) {
	return plannedKeys(ctx, conn, migration, enforceOne)
}

// keyPlan says what is to be done about a kept key, seeing what the catalog has under its name (nil: nothing).
type keyPlan func(k, now *foreignKey, version int) []string

// plannedKeys is what a plan says of all keys that the migration holds.
func plannedKeys(ctx context.Context, conn *pgx.Conn, migration string, plan keyPlan) ([]string, error) {
	return planned(ctx, conn, func(tx pgx.Tx) ([]string, error) {
		kept, err := scanKept(ctx, tx, keptByHold, migration)
		if err != nil {
			return nil, err
		}
		now, version, err := present(ctx, tx, kept)
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range kept {
			out = append(out, plan(&kept[i], now[kept[i].place()], version)...)
		}
		return out, nil
	})
}

// enforceOne gives a key the form that it has while segue writes, unless another migration still loads without it.
func enforceOne(k, there *foreignKey, version int) []string {
	if k.hold.loading > 0 || k.gone {
		return nil
	}
	var out []string
	add := fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s%s", k.table.SQL(), k.quoted(), k.core, enforced)
	inForm := there != nil && there.core == k.core && strings.TrimSuffix(there.definition, " NOT VALID") == k.core+enforced
	if there != nil && !inForm {
		out = append(out, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", k.table.SQL(), k.quoted()))
	}
	if k.partitioned && version < notValidParents {
		if !inForm {
			out = append(out, add)
		}
		return out
	}
	if !inForm {
		out = append(out, add+" NOT VALID")
	}
	if k.validated && (!inForm || !there.validated) {
		out = append(out, fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", k.table.SQL(), k.quoted()))
	}
	return out
}

func (k *foreignKey) place() string { return k.table.SQL() + "." + k.quoted() }

// present returns what the catalog has under the names of kept keys.
func present(ctx context.Context, tx pgx.Tx, kept []foreignKey) (now map[string]*foreignKey, version int, err error) {
	tables := make([]table.Name, len(kept))
	for i := range kept {
		tables[i] = kept[i].table
	}
	there, err := foreignKeysOf(ctx, tx, tables)
	if err != nil {
		return nil, 0, err
	}
	now = map[string]*foreignKey{}
	for i := range there {
		now[there[i].place()] = &there[i]
	}
	err = tx.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int`).Scan(&version)
	return now, version, err
}

// EnforceKeys says that the migration's load is over and makes the kept foreign keys again, NO ACTION and DEFERRABLE, and validates them: those that no
// other migration still loads without. Rows without a parent stop it with an OrphanError.
func EnforceKeys(ctx context.Context, conn *pgx.Conn, migration string) error {
	err := locked(ctx, conn, "enforce foreign keys", func(tx pgx.Tx) error { return markLoaded(ctx, tx, migration) })
	if err != nil {
		return err
	}
	return eachKey(ctx, conn, migration, "enforce foreign keys", enforceOne)
}

// eachKey carries a plan out, key by key.
func eachKey(ctx context.Context, conn *pgx.Conn, migration, what string, plan keyPlan) error {
	var kept []foreignKey
	_, err := planned(ctx, conn, func(tx pgx.Tx) (_ []string, err error) {
		kept, err = scanKept(ctx, tx, keptByHold, migration)
		return nil, err
	})
	if err != nil {
		return err
	}
	for i := range kept {
		failed, err := alterKey(ctx, conn, migration, what, &kept[i], plan)
		switch postgres.SQLState(err) {
		case codeForeignKey:
			return orphans(ctx, conn, migration, failed, err)
		case codePrivilege:
			whole, perr := plannedKeys(ctx, conn, migration, plan)
			if perr != nil {
				return perr
			}
			return &PrivilegeError{What: what, SQL: whole}
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
		kept, err := scanKept(ctx, tx, keptByHold, migration)
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
	if some, err := keeps(ctx, conn); err != nil || !some {
		return nil, err
	}
	return plannedKeys(ctx, conn, migration, finishing(migration))
}

// finishing gives a key back with its last hold. While others hold it, it has the form that these need.
func finishing(migration string) keyPlan {
	return func(k, now *foreignKey, version int) []string {
		if !k.hold.own {
			return nil
		}
		sql := enforceOne(k, now, version)
		if k.hold.others == 0 && !k.gone {
			sql = finishOne(k, now, version)
		}
		return append(sql, releaseHoldSQL(migration, k))
	}
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
	if k.comment != nil && (len(out) > 0 || now.comment == nil || *now.comment != *k.comment) {
		out = append(out, fmt.Sprintf("COMMENT ON CONSTRAINT %s ON %s IS %s", k.quoted(), k.table.SQL(), literal(*k.comment)))
	}
	return out
}

// GoneKeys tells of the migration's foreign keys that cannot be given back, because one of their tables is gone.
func GoneKeys(ctx context.Context, conn *pgx.Conn, migration string) ([]string, error) {
	return planned(ctx, conn, func(tx pgx.Tx) (notes []string, err error) {
		kept, err := scanKept(ctx, tx, keptByHold, migration)
		for i := range kept {
			if k := &kept[i]; k.gone {
				notes = append(notes, fmt.Sprintf("foreign key %s is not made again: its table %s, or %s, is gone; it was %s", k.name, k.table, k.parent, k.definition))
			}
		}
		return notes, err
	})
}

// FinishKeys gives the foreign keys back as they were before PrepareKeys, those that other migrations hold excepted: they are given back by
// the last one that finishes.
func FinishKeys(ctx context.Context, conn *pgx.Conn, migration string) error {
	return eachKey(ctx, conn, migration, "give back foreign keys", finishing(migration))
}
