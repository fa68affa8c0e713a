package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/table"
)

// Tables returns the shapes of the named source tables, in the order of the names. A table's key is its replica
// identity; with identity full its primary key, where it has one that is not deferrable.
func Tables(ctx context.Context, q Querier, names []table.Name) ([]*table.Table, error) {
	return shapes(ctx, q, names, sourceKeySQL)
}

// TargetTables returns the shapes of the named target tables. A table's key is its primary key, else its first unique index that can
// stand for one: not deferrable, whole, over plain columns that refuse NULL.
func TargetTables(ctx context.Context, q Querier, names []table.Name) ([]*table.Table, error) {
	return shapes(ctx, q, names, targetKeySQL)
}

// AllTables lists the tables of the database that can be selected: ordinary and partitioned ones, without leaf partitions,
// temporary and unlogged tables and the server's own, by name.
func AllTables(ctx context.Context, q Querier) ([]table.Name, error) {
	rows, err := q.Query(ctx, allTablesSQL)
	if err != nil {
		return nil, stepError("list tables", err)
	}
	names, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (table.Name, error) {
		var n table.Name
		return n, row.Scan(&n.Schema, &n.Table)
	})
	if err != nil {
		return nil, stepError("list tables", err)
	}
	return names, nil
}

func shapes(ctx context.Context, q Querier, names []table.Name, keySQL string) ([]*table.Table, error) {
	byOID, out, err := readTables(ctx, q, names, keySQL)
	if err != nil {
		return nil, err
	}
	keys, err := readColumns(ctx, q, byOID)
	if err != nil {
		return nil, err
	}
	for _, t := range out {
		if err := resolveKey(t, byOID[t.OID].keyAttnums, keys[t.OID]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// shape is a table while it is being read.
type shape struct {
	table      *table.Table
	keyAttnums []int16
}

func readTables(ctx context.Context, q Querier, names []table.Name, keySQL string) (map[uint32]*shape, []*table.Table, error) {
	schemas, tables := make([]string, len(names)), make([]string, len(names))
	for i, n := range names {
		schemas[i], tables[i] = n.Schema, n.Table
	}
	rows, err := q.Query(ctx, strings.Replace(tablesSQL, "/*key*/", keySQL, 1), schemas, tables)
	if err != nil {
		return nil, nil, stepError("read tables from the catalog", err)
	}
	defer rows.Close()
	byOID := make(map[uint32]*shape, len(names))
	out := make([]*table.Table, 0, len(names))
	for rows.Next() {
		var oid *uint32
		var kind, identity *string
		var key []int16
		var equals []string
		if err := rows.Scan(&oid, &kind, &identity, &key, &equals); err != nil {
			return nil, nil, stepError("read tables from the catalog", err)
		}
		name := names[len(out)]
		if err := usable(name, kind); err != nil {
			return nil, nil, err
		}
		t := &table.Table{OID: *oid, Name: name, Identity: table.Identity((*identity)[0]), Partitioned: *kind == "p", Equals: equals}
		byOID[t.OID] = &shape{table: t, keyAttnums: key}
		out = append(out, t)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, stepError("read tables from the catalog", err)
	}
	return byOID, out, nil
}

func usable(name table.Name, kind *string) error {
	if kind == nil {
		return fault.Fatal(fmt.Errorf("table %s: there is no such table in this database", name),
			"correct the name (schema.table, in the catalog's case) or create the table")
	}
	if *kind != "r" && *kind != "p" {
		what := map[string]string{"v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence", "i": "index", "c": "composite type"}[*kind]
		return fault.Fatal(fmt.Errorf("table %s: it is a %s, not a table", name, what), "name the tables behind it")
	}
	return nil
}

// readColumns fills the columns of all tables and returns, per table, the ordinal of each attribute number.
func readColumns(ctx context.Context, q Querier, byOID map[uint32]*shape) (map[uint32]map[int16]int, error) {
	oids := make([]uint32, 0, len(byOID))
	for oid := range byOID {
		oids = append(oids, oid)
	}
	rows, err := q.Query(ctx, columnsSQL, oids)
	if err != nil {
		return nil, stepError("read columns from the catalog", err)
	}
	defer rows.Close()
	ordinals := make(map[uint32]map[int16]int, len(byOID))
	for rows.Next() {
		var oid uint32
		var c table.Column
		if err := rows.Scan(&oid, &c.Number, &c.Name, &c.OID, &c.Mod, &c.Type, &c.Base,
			&c.NotNull, &c.Default, &c.Generated, &c.AlwaysIdentity); err != nil {
			return nil, stepError("read columns from the catalog", err)
		}
		t := byOID[oid].table
		if ordinals[oid] == nil {
			ordinals[oid] = map[int16]int{}
		}
		ordinals[oid][c.Number] = len(t.Columns)
		t.Columns = append(t.Columns, c)
	}
	if err := rows.Err(); err != nil {
		return nil, stepError("read columns from the catalog", err)
	}
	return ordinals, nil
}

func resolveKey(t *table.Table, attnums []int16, ordinals map[int16]int) error {
	for _, a := range attnums {
		i, ok := ordinals[a]
		if !ok {
			return fmt.Errorf("table %s: key column %d is not in the catalog", t.Name, a)
		}
		t.Key = append(t.Key, i)
	}
	return nil
}
