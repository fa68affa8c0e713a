package check

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
)

// keeps looks at what bounds the log that the slot holds back while no reader runs: nothing of segue's can act then.
func (r *report) keeps(keep string, spec *migration.Spec) {
	if keep == "-1" {
		r.warn("source", "max_slot_wal_keep_size is unlimited: while segue does not read, the log may fill the source's disk",
			"ALTER SYSTEM SET max_slot_wal_keep_size = '100GB'; SELECT pg_reload_conf(); -- less than the disk has free")
		return
	}
	limit := spec.Protect.MaxRetainedWAL
	if bytes, ok := settingBytes(keep); ok && limit > 0 && bytes < limit {
		r.warn("source", "max_slot_wal_keep_size is "+keep+", less than protect.max_retained_wal ("+migration.FormatSize(limit)+"): the server gives the slot up before segue acts",
			"lower protect.max_retained_wal in segue.yaml below "+keep+", or ALTER SYSTEM SET max_slot_wal_keep_size to more; SELECT pg_reload_conf();")
	}
}

// settingBytes reads a size as current_setting shows it; one without a unit counts megabytes.
func settingBytes(s string) (int64, bool) {
	for unit, shift := range map[string]int{"kB": 10, "MB": 20, "GB": 30, "TB": 40, "": 20} {
		if n, err := strconv.ParseInt(strings.TrimSuffix(s, unit), 10, 64); err == nil && strings.HasSuffix(s, unit) {
			return n << shift, true
		}
	}
	return 0, false
}

const slotCareSQL = `
SELECT current_setting('server_version_num')::int, coalesce(current_setting('synchronized_standby_slots', true), ''),
       coalesce(current_setting('idle_replication_slot_timeout', true), '0'),
       coalesce((SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots WHERE slot_type = 'physical' AND active), '')`

// slotCare looks at the slot itself, and at what becomes of it when a standby of the source is promoted.
func (r *report) slotCare(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) {
	var version int
	var synchronized, idle, standbys string
	if err := conn.QueryRow(ctx, slotCareSQL).Scan(&version, &synchronized, &idle, &standbys); err != nil {
		r.failure("source", postgres.Safe(err))
		return
	}
	slot, err := pgsource.Inspect(ctx, conn, spec.Name.Slot())
	if err != nil {
		r.failure("source", err)
		return
	}
	if idle != "0" {
		r.warn("source", "idle_replication_slot_timeout is "+idle+": the server gives the slot up when segue does not read for so long", "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();")
	}
	if slot.Exists {
		if err := slot.Check(spec.Name.Slot(), conn.Config().Database); err != nil {
			r.failure("source", err)
		} else if !slot.Failover && version >= 170000 {
			r.warn("source", "slot "+spec.Name.Slot()+" does not follow a failover: it is not kept on standbys",
				`with the reader stopped, over a replication connection: psql "dbname=`+conn.Config().Database+` replication=database" -c 'ALTER_REPLICATION_SLOT `+spec.Name.Slot()+` (FAILOVER true)'`)
		}
	}
	if version >= 170000 && standbys != "" && synchronized == "" {
		r.warn("source", "it has standbys ("+standbys+"), but synchronized_standby_slots is empty: changes may reach the target that a promoted standby never got",
			"ALTER SYSTEM SET synchronized_standby_slots = '"+standbys+"'; SELECT pg_reload_conf(); -- of those that may be promoted, and on them: sync_replication_slots = on")
	}
	if version < 170000 && standbys != "" {
		r.warn("source", "it has standbys ("+standbys+"), and before PostgreSQL 17 slots do not follow a failover: behind one, every table has to be read again", "")
	}
}
