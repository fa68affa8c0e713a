package pgscan

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/chunk"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// heapsSQL lists the heaps of the tables: the table itself, or the leaves of a partitioned one.
const heapsSQL = `
SELECT t.ord, n.nspname, c.relname, coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::bigint,
       coalesce(pg_catalog.pg_relation_size(c.oid), 0) / pg_catalog.current_setting('block_size')::int,
       coalesce(pg_catalog.pg_table_size(c.oid), 0), c.reltuples::bigint
FROM unnest($1::oid[]) WITH ORDINALITY AS t(oid, ord)
JOIN pg_catalog.pg_class r ON r.oid = t.oid
CROSS JOIN LATERAL (
    SELECT p.relid::oid AS oid FROM pg_catalog.pg_partition_tree(r.oid) AS p WHERE r.relkind = 'p' AND p.isleaf
    UNION ALL SELECT r.oid WHERE r.relkind <> 'p'
) AS leaf
JOIN pg_catalog.pg_class c ON c.oid = leaf.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
ORDER BY t.ord, n.nspname, c.relname`

// Heaps describes the heaps of the tables as they are now.
func (s *Scanner) Heaps(ctx context.Context, tables []*table.Table) ([]chunk.Heap, error) {
	oids := make([]uint32, len(tables))
	for i, t := range tables {
		oids[i] = t.OID
	}
	rows, err := s.pool.Query(ctx, heapsSQL, oids)
	if err != nil {
		return nil, fmt.Errorf("list heaps: %w", postgres.Safe(err))
	}
	heaps, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (chunk.Heap, error) {
		var h chunk.Heap
		var ord, filenode, blocks int64
		err := row.Scan(&ord, &h.Leaf.Schema, &h.Leaf.Table, &filenode, &blocks, &h.Bytes, &h.Rows)
		if err == nil {
			h.Table, h.Filenode, h.Blocks = tables[ord-1], uint32(filenode), uint32(blocks)
		}
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("list heaps: %w", postgres.Safe(err))
	}
	return heaps, nil
}

// Restricted lists those of the tables whose row-level security keeps rows from this user: PostgreSQL refuses to read
// them, and segue never reads less than all.
func (s *Scanner) Restricted(ctx context.Context, tables []*table.Table) ([]table.Name, error) {
	var out []table.Name
	for _, t := range tables {
		var active bool
		if err := s.pool.QueryRow(ctx, "SELECT pg_catalog.row_security_active($1::oid)", t.OID).Scan(&active); err != nil {
			return nil, fmt.Errorf("look at row-level security of %s: %w", t.Name, postgres.Safe(err))
		}
		if active {
			out = append(out, t.Name)
		}
	}
	return out, nil
}
