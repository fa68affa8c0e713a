package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
)

// schemaVersion counts the layouts of the bookkeeping schema. A program that meets a newer one stops.
const schemaVersion = 2

// schemaStatements make the bookkeeping schema. Each may be run again at any time.
func schemaStatements() []string {
	return append([]string{
		`CREATE SCHEMA IF NOT EXISTS segue`,
		`CREATE TABLE IF NOT EXISTS segue.version (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), version integer NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS segue.progress (
			migration text PRIMARY KEY,
			mode text NOT NULL,
			fingerprint text NOT NULL,
			epoch bigint NOT NULL DEFAULT 0,
			lsn pg_catalog.pg_lsn NOT NULL DEFAULT '0/0',
			seq bigint NOT NULL DEFAULT 0,
			frontier_offset bigint NOT NULL DEFAULT -1,
			incarnation bigint NOT NULL DEFAULT -1,
			owner text NOT NULL,
			backend_pid integer NOT NULL,
			backend_start timestamptz NOT NULL,
			loaded boolean NOT NULL DEFAULT false,
			committed timestamptz,
			applied timestamptz,
			changes bigint NOT NULL DEFAULT 0,
			row_ops bigint NOT NULL DEFAULT 0,
			filtered bigint NOT NULL DEFAULT 0
		) WITH (fillfactor = 20)`,
		`CREATE TABLE IF NOT EXISTS segue.pending (
			migration text NOT NULL,
			source_schema text NOT NULL,
			source_table text NOT NULL,
			key_values text[] NOT NULL,
			epoch bigint NOT NULL,
			lsn pg_catalog.pg_lsn NOT NULL,
			seq bigint NOT NULL,
			reason text NOT NULL,
			asked timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
			PRIMARY KEY (migration, source_schema, source_table, key_values)
		)`,
		`CREATE TABLE IF NOT EXISTS segue.foreign_keys (
			migration text NOT NULL,
			schema_name text NOT NULL,
			table_name text NOT NULL,
			constraint_name text NOT NULL,
			definition text NOT NULL,
			core text NOT NULL,
			orphans text NOT NULL,
			comment text,
			validated boolean NOT NULL,
			partitioned boolean NOT NULL,
			kept timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
			PRIMARY KEY (schema_name, table_name, constraint_name)
		)`,
		`CREATE TABLE IF NOT EXISTS segue.snapshots (
			migration text NOT NULL,
			mark text NOT NULL,
			snapshot text NOT NULL,
			epoch bigint NOT NULL,
			lsn pg_catalog.pg_lsn NOT NULL,
			seq bigint NOT NULL,
			expires timestamptz NOT NULL,
			released boolean NOT NULL DEFAULT false,
			PRIMARY KEY (migration, mark)
		)`,
	}, slices.Concat(parkedStatements(), decisionStatements(), knownStatements(), indexStatements(), holdStatements(), []string{
		fmt.Sprintf(`INSERT INTO segue.version (version) VALUES (%d) ON CONFLICT DO NOTHING`, schemaVersion),
		fmt.Sprintf(`UPDATE segue.version SET version = %[1]d WHERE version < %[1]d`, schemaVersion),
	})...)
}

// schemaLock keeps two processes from creating the schema at once: IF NOT EXISTS alone can fail when they race.
const schemaLock = 0x7365677565 // "segue"

// EnsureSchema creates the bookkeeping schema where it is missing, brings an older one up to date and checks its version.
func EnsureSchema(ctx context.Context, conn *pgx.Conn) error {
	version, err := readVersion(ctx, conn)
	if err != nil {
		return err
	}
	if version < schemaVersion {
		if version, err = createSchema(ctx, conn); err != nil {
			return err
		}
	}
	if version != schemaVersion {
		return fault.Fatal(fmt.Errorf("schema segue on the target has version %d, this program knows %d", version, schemaVersion),
			"run the segue version that wrote it, or a newer one")
	}
	return nil
}

// readVersion returns 0 where there is no schema yet, or one from before its last table.
func readVersion(ctx context.Context, q postgres.Querier) (int, error) {
	var there bool
	err := q.QueryRow(ctx, `SELECT pg_catalog.to_regclass('segue.version') IS NOT NULL AND pg_catalog.to_regclass('segue.parked_log') IS NOT NULL
		AND pg_catalog.to_regclass('segue.refused') IS NOT NULL`).Scan(&there)
	if err != nil {
		return 0, step("look for schema segue", err)
	}
	if !there {
		return 0, nil
	}
	var version int
	err = q.QueryRow(ctx, `SELECT version FROM segue.version`).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return version, step("read version of schema segue", err)
}

// keeps says whether there is anything kept that could be given back. What an older segue kept has to be brought up to date first.
func keeps(ctx context.Context, q postgres.Querier) (bool, error) {
	version, err := readVersion(ctx, q)
	if err != nil || version == schemaVersion {
		return err == nil, err
	}
	var older bool
	if err := q.QueryRow(ctx, `SELECT pg_catalog.to_regclass('segue.foreign_keys') IS NOT NULL`).Scan(&older); err != nil || !older {
		return false, step("look for schema segue", err)
	}
	return false, fault.Fatal(errors.New("schema segue on the target is of another version of segue"), "run segue target finish, or start the applier once: they bring an older one up to date")
}

func createSchema(ctx context.Context, conn *pgx.Conn) (int, error) {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_catalog.pg_advisory_xact_lock($1)`, schemaLock); err != nil {
			return err
		}
		for _, sql := range schemaStatements() {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if postgres.SQLState(err) == codePrivilege {
		return 0, &PrivilegeError{What: "create schema segue", SQL: schemaStatements()}
	}
	if err != nil {
		return 0, step("create schema segue", err)
	}
	return readVersion(ctx, conn)
}
