package pgsource

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// identitiesSQL gives, for each selected table and each leaf of a partitioned one, its own replica identity and its root's, whether there
// is an index behind it, and a generated column that belongs to it: with identity full a virtual one, which is never published.
const identitiesSQL = `
WITH selected AS (
	SELECT c.oid, c.relkind, c.relreplident
	FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS w (nsp, rel)
	JOIN pg_catalog.pg_namespace n ON n.nspname = w.nsp
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.rel AND c.relkind IN ('r', 'p')
), member AS (
	SELECT oid, relreplident AS root FROM selected
	UNION ALL
	SELECT tree.relid, s.relreplident FROM selected s CROSS JOIN LATERAL pg_catalog.pg_partition_tree(s.oid) tree
	WHERE s.relkind = 'p' AND tree.isleaf
)
SELECT n.nspname, c.relname, c.relreplident::text, m.root::text, i.indexrelid IS NOT NULL,
       (SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> ''
          AND CASE WHEN c.relreplident = 'f' THEN a.attgenerated <> 's' ELSE a.attnum = ANY (i.indkey::smallint[]) END
        ORDER BY a.attnum LIMIT 1)
FROM member m
JOIN pg_catalog.pg_class c ON c.oid = m.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
      AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
ORDER BY 1, 2`

// generatedAreSent is the server that publishes stored generated columns.
const generatedAreSent = 180000

// member is a heap whose changes are to be published.
type member struct {
	name           table.Name
	identity, root table.Identity
	indexed        bool
	generated      *string // a generated column that belongs to its identity and cannot be published (full: a virtual one)
}

// checkIdentities refuses tables that must not be published as they are: where a replica identity is missing or cannot be published, the
// server refuses every update and delete from then on, to everybody; and where a leaf's is weaker than its root's, it
// sends the leaf's key columns and calls them the whole old row.
func checkIdentities(ctx context.Context, tx pgx.Tx, names []table.Name, version int) error {
	schemas, tables := make([]string, len(names)), make([]string, len(names))
	for i, n := range names {
		schemas[i], tables[i] = n.Schema, n.Table
	}
	rows, err := tx.Query(ctx, identitiesSQL, schemas, tables)
	if err != nil {
		return postgres.Safe(err)
	}
	members, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (member, error) {
		var m member
		var identity, root string
		if err := row.Scan(&m.name.Schema, &m.name.Table, &identity, &root, &m.indexed, &m.generated); err != nil {
			return member{}, err
		}
		m.identity, m.root = table.Identity(identity[0]), table.Identity(root[0])
		return m, nil
	})
	if err != nil {
		return postgres.Safe(err)
	}
	for i := range members {
		if err := members[i].check(version); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) check(version int) error {
	full := "run ALTER TABLE " + m.name.SQL() + " REPLICA IDENTITY FULL"
	switch {
	case m.root == table.IdentityFull && m.identity != table.IdentityFull:
		return fault.Fatal(fmt.Errorf("partition %s has another replica identity (%s) than its root (full): old rows would arrive with columns missing",
			m.name, identityName(m.identity)), full)
	case m.identity != table.IdentityFull && !m.indexed:
		return fault.Fatal(fmt.Errorf("table %s has no replica identity: once it is published the server refuses every UPDATE and DELETE on it", m.name),
			"add a primary key, or "+full)
	case m.generated != nil && m.identity == table.IdentityFull:
		return fault.Fatal(fmt.Errorf("table %s has replica identity full and the virtual generated column %s: once it is published the server refuses every UPDATE and DELETE on it",
			m.name, *m.generated), "run ALTER TABLE "+m.name.SQL()+" REPLICA IDENTITY USING INDEX …, with an index over ordinary columns")
	case m.generated != nil && version < generatedAreSent:
		return fault.Fatal(fmt.Errorf("table %s is identified by the generated column %s, which this server does not publish", m.name, *m.generated), full)
	}
	return nil
}
