package pgtarget

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"segue/pkg/postgres"
)

// The session's own statements, prepared once per connection: setting some twenty settings anew costs the server more
// than a small transaction itself.
const (
	beginName     = "segue_begin"
	settingsName  = "segue_settings"
	deferredName  = "segue_deferred"
	savepointName = "segue_savepoint"
	stepName      = "segue_step"
	stepDoneName  = "segue_step_done"
	immediateName = "segue_immediate"
	progressName  = "segue_progress"
	commitName    = "segue_commit"
	scanName      = "segue_scan"
	noScanName    = "segue_no_scan"
)

// settings is what every transaction here runs under. Joins by nested loops over the key's index are what each statement
// wants: a plan that was made while the table was empty would scan it for ever.
func (t *Target) settings() map[string]string {
	s := postgres.Pinned()
	s["lock_timeout"] = strconv.FormatInt(t.cfg.LockTimeout.Milliseconds(), 10)
	s["synchronous_commit"] = "off" // progress is lost together with the rows, and Kafka has both
	s["plan_cache_mode"] = "force_generic_plan"
	s["jit"] = "off"
	for _, name := range plannerSettings {
		s[name] = "off"
	}
	return s
}

// plannerSettings are given back to statements that read whole tables.
var plannerSettings = []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"}

// plannerSQL sets them for what follows in the transaction, with nested loops the other way. Statements that look for rows without a key
// read the whole table once; a nested loop over texts would do it once for each row.
func plannerSQL(scans, loops string) string {
	sql := "SELECT pg_catalog.set_config('enable_nestloop', '" + loops + "', true)"
	for _, name := range plannerSettings {
		sql += ", pg_catalog.set_config('" + name + "', '" + scans + "', true)"
	}
	return sql
}

// startSession puts the settings in force for the session, and prepares the statement that makes sure of them inside each
// transaction: a pooler may have changed the backend, or somebody the session.
func (t *Target) startSession(ctx context.Context) error {
	settings := t.settings()
	names := slices.Sorted(maps.Keys(settings))
	var set, rows []string
	for _, name := range names {
		set = append(set, "SET "+name+" = "+literal(settings[name]))
	}
	if err := t.exec(ctx, set...); err != nil {
		return err
	}
	var shown []string // the server writes some values in another form
	if err := t.conn.QueryRow(ctx, `SELECT pg_catalog.array_agg(pg_catalog.current_setting(n) ORDER BY place)
		FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS names (n, place)`, names).Scan(&shown); err != nil {
		return err
	}
	for i, name := range names {
		rows = append(rows, fmt.Sprintf("(%s, %s, %s)", literal(name), literal(settings[name]), literal(shown[i])))
	}
	fixed := []struct{ name, sql string }{
		{beginName, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
		{settingsName, "SELECT pg_catalog.set_config(s.name, s.value, true) FROM (VALUES " + strings.Join(rows, ", ") +
			") AS s (name, value, shown) WHERE pg_catalog.current_setting(s.name) <> s.shown"},
		{deferredName, deferredSQL},
		{savepointName, savepointSQL},
		{stepName, stepSQL},
		{stepDoneName, stepDoneSQL},
		{immediateName, immediateSQL},
		{progressName, moveProgressSQL},
		{commitName, "COMMIT"},
		{scanName, plannerSQL("on", "off")},
		{noScanName, plannerSQL("off", "on")},
	}
	for _, f := range fixed {
		if _, err := t.conn.PgConn().Prepare(ctx, f.name, f.sql, nil); err != nil {
			return err
		}
	}
	return nil
}
