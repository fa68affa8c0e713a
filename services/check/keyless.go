package check

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/postgres"
	"segue/pkg/table"
)

const keylessSQL = `
SELECT pg_catalog.pg_size_pretty(pg_catalog.pg_table_size(t.oid)) FROM unnest($1::oid[]) WITH ORDINALITY AS t (oid, place) ORDER BY t.place`

const freeSQL = `
SELECT current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots) - (SELECT count(*) FROM (SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)) s),
       current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender') - (SELECT count(*) FROM (SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active)) s)`

// keyless tells what tables without key cost: they are loaded in one snapshot each, which a second slot exports.
func (r *report) keyless(ctx context.Context, conn *pgx.Conn, slot string, tables []*table.Table) {
	var oids []uint32
	var whole []*table.Table
	for _, t := range tables {
		if t.Keyless() && t.Identity == table.IdentityFull && !t.Partitioned {
			oids, whole = append(oids, t.OID), append(whole, t)
		}
	}
	if len(whole) == 0 {
		return
	}
	n := 0
	rows, err := conn.Query(ctx, keylessSQL, oids)
	r.each("source", rows, err, func(row pgx.CollectableRow) error {
		var size string
		if err := row.Scan(&size); err != nil {
			return err
		}
		t := whole[n]
		n++
		r.warn("source "+t.Name.String(), "it has no key: it is loaded whole, in one snapshot ("+size+"), which holds back vacuum, and the stream stands still while its rows are read; "+
			"on the target each batch of its updates and deletes reads the whole table",
			"ALTER TABLE "+t.Name.SQL()+" ADD PRIMARY KEY (…); -- if something identifies its rows")
		return nil
	})
	var slots, senders int
	if err := conn.QueryRow(ctx, freeSQL, slot).Scan(&slots, &senders); err != nil {
		r.failure("source", postgres.Safe(err))
		return
	}
	if slots < 1 {
		r.error("source", fmt.Sprintf("no replication slot is free for loading %s, which has no key: that takes a temporary slot beside segue's own", whole[0].Name),
			"ALTER SYSTEM SET max_replication_slots = 20; -- then restart the server; or drop a slot that nobody uses: SELECT * FROM pg_replication_slots WHERE NOT active;")
	}
	if senders < 1 {
		r.error("source", fmt.Sprintf("no WAL sender is free for loading %s, which has no key: that takes one beside segue's own", whole[0].Name),
			"ALTER SYSTEM SET max_wal_senders = 20; -- then restart the server")
	}
}

// keyed says whether the target table is fed by one with a key: then it needs one, too. What could not be read of the source says nothing.
func (s *sourceSide) keyed(target table.Name) bool {
	for _, x := range s.selected {
		for _, t := range s.tables {
			if x.Target == target && t.Name == x.Source && !t.Keyless() {
				return true
			}
		}
	}
	return false
}
