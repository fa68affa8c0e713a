package pgsource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// ensurePublication returns the tables that it added to a publication that was there, and those that it removed.
func ensurePublication(ctx context.Context, conn *pgx.Conn, s Setup) (added, removed []table.Name, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, nil, postgres.Safe(err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // committed or lost
	if _, err := tx.Exec(ctx, `SELECT pg_catalog.pg_advisory_xact_lock($1)`, int64(lockKey)); err != nil {
		return nil, nil, postgres.Safe(err)
	}
	version, err := serverVersion(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	if err := checkIdentities(ctx, tx, s.Tables, version); err != nil {
		return nil, nil, err
	}
	statements, added, removed, err := publicationChanges(ctx, tx, s, version)
	if err != nil {
		return nil, nil, err
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return nil, nil, publicationError(err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, nil, postgres.Safe(err)
	}
	return added, removed, nil
}

func publicationError(err error) error {
	safe := postgres.Safe(err)
	if postgres.SQLState(safe) == "42501" {
		return fault.Fatal(safe, "the role needs CREATE on the database and must own the tables (or run CREATE PUBLICATION as their owner)")
	}
	return safe
}

// publicationOptions are what a publication of ours is made with. From PostgreSQL 18 on stored generated columns are published (and left out
// here): a table with replica identity full and such a column could not be updated any more otherwise, by nobody.
func publicationOptions(version int) string {
	options := `publish = 'insert, update, delete, truncate', publish_via_partition_root = true`
	if version >= generatedAreSent {
		options += `, publish_generated_columns = stored`
	}
	return options
}

const publicationSQL = `
SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot
       AND coalesce(pg_catalog.to_jsonb(p) ->> 'pubgencols', 's') = 's'
FROM pg_catalog.pg_publication p WHERE pubname = $1`

// publishedSQL lists the tables; the last column says whether the table is published whole: PostgreSQL 15 and later can filter
// rows and columns.
const publishedSQL = `
SELECT n.nspname, c.relname, pg_catalog.to_jsonb(r) ->> 'prqual' IS NULL AND pg_catalog.to_jsonb(r) ->> 'prattrs' IS NULL
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1`

const gapsSQL = `
SELECT EXISTS (SELECT FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
               WHERE p.pubname = $1 AND r.prrelid = w.oid
                 AND pg_catalog.to_jsonb(r) ->> 'prqual' IS NULL AND pg_catalog.to_jsonb(r) ->> 'prattrs' IS NULL)
FROM pg_catalog.unnest($2::oid[]) WITH ORDINALITY AS w (oid, ord) ORDER BY w.ord`

// Gaps lists the tables that the publication, as it is now, does not publish whole: it was altered or dropped by somebody else, or the
// table is not the one that was added (dropped and made again, by the same name). What changed in them meanwhile is in no stream, and Ensure
// would mend the publication without a trace of that.
func Gaps(ctx context.Context, q postgres.Querier, publication string, shapes []*table.Table) ([]table.Name, error) {
	step := "publication " + publication
	var all, options bool
	err := q.QueryRow(ctx, publicationSQL, publication).Scan(&all, &options)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("%s: %w", step, postgres.Safe(err))
	}
	oids := make([]uint32, len(shapes))
	for i, t := range shapes {
		oids[i] = t.OID
	}
	rows, err := q.Query(ctx, gapsSQL, publication, oids)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", step, postgres.Safe(err))
	}
	published, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", step, postgres.Safe(err))
	}
	var out []table.Name
	for i, t := range shapes {
		if whole := options && (all || published[i]); !whole {
			out = append(out, t.Name)
		}
	}
	return out, nil
}

func publicationChanges(ctx context.Context, tx pgx.Tx, s Setup, version int) (statements []string, added, removed []table.Name, err error) {
	name := table.Quote(s.Publication)
	var all, options bool
	err = tx.QueryRow(ctx, publicationSQL, s.Publication).Scan(&all, &options)
	if errors.Is(err, pgx.ErrNoRows) {
		return []string{`CREATE PUBLICATION ` + name + ` FOR TABLE ` + only(s.Tables) + ` WITH (` + publicationOptions(version) + `)`}, nil, nil, nil
	}
	if err != nil {
		return nil, nil, nil, postgres.Safe(err)
	}
	if all {
		return nil, nil, nil, fault.Fatal(errors.New("it is FOR ALL TABLES and was not made by segue"),
			"no data is at risk: give the migration another name, or drop the publication if nothing needs it")
	}
	published, whole, err := publishedTables(ctx, tx, s.Publication)
	if err != nil {
		return nil, nil, nil, err
	}
	added, removed = without(s.Tables, published), without(published, s.Tables)
	if len(added)+len(removed) > 0 || !whole {
		statements = append(statements, `ALTER PUBLICATION `+name+` SET TABLE `+only(s.Tables))
	}
	if !options {
		statements = append(statements, `ALTER PUBLICATION `+name+` SET (`+publicationOptions(version)+`)`)
	}
	return statements, added, removed, nil
}

func publishedTables(ctx context.Context, tx pgx.Tx, publication string) (names []table.Name, whole bool, err error) {
	rows, err := tx.Query(ctx, publishedSQL, publication)
	if err != nil {
		return nil, false, postgres.Safe(err)
	}
	defer rows.Close()
	whole = true
	for rows.Next() {
		var n table.Name
		var w bool
		if err := rows.Scan(&n.Schema, &n.Table, &w); err != nil {
			return nil, false, postgres.Safe(err)
		}
		names, whole = append(names, n), whole && w
	}
	return names, whole, postgres.Safe(rows.Err())
}

func without(a, b []table.Name) []table.Name {
	var out []table.Name
	for _, n := range a {
		if !slices.Contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}

// only names the tables without their inheritance children, which are tables of their own.
func only(names []table.Name) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = "ONLY " + n.SQL()
	}
	return strings.Join(parts, ", ")
}
