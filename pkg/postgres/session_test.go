package postgres_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"segue/pkg/pgtest"
	"segue/pkg/postgres"
)

// Whatever is set on the role or the database, a connection's session has what segue rests on: outside transactions too, and at the
// log's sender.
func TestSessionsDoNotDependOnRoleOrDatabase(t *testing.T) {
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	hostile := map[string]string{
		"datestyle": "German", "intervalstyle": "iso_8601", "timezone": "Asia/Kathmandu", "bytea_output": "escape", "extra_float_digits": "-15", "xmloption": "document",
		"array_nulls": "off", "client_encoding": "LATIN1", "quote_all_identifiers": "on", "standard_conforming_strings": "off", "transform_null_equals": "on",
		"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on", "statement_timeout": "5s",
		"lock_timeout": "5s", "idle_in_transaction_session_timeout": "5s", "idle_session_timeout": "60s", "transaction_timeout": "5s",
	}
	want := map[string]string{
		"datestyle": "ISO, MDY", "intervalstyle": "postgres", "timezone": "UTC", "bytea_output": "hex", "extra_float_digits": "3", "xmloption": "content",
		"array_nulls": "on", "client_encoding": "UTF8", "quote_all_identifiers": "off", "standard_conforming_strings": "on", "transform_null_equals": "off",
		"default_transaction_isolation": "read committed", "default_transaction_deferrable": "off", "statement_timeout": "0",
		"lock_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0", "transaction_timeout": "0",
	}
	for name, value := range hostile {
		var known bool
		if err := admin.QueryRow(t.Context(), `SELECT current_setting($1, true) IS NOT NULL`, name).Scan(&known); err != nil {
			t.Fatal(err)
		}
		if !known { // transaction_timeout before 17
			delete(want, name)
			continue
		}
		pgtest.Exec(t, admin, `DO $x$ BEGIN EXECUTE format('ALTER DATABASE %I SET `+name+` = %L', current_database(), '`+value+`'); END $x$`)
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		list = append(list, "current_setting('"+name+"')")
	}
	sql := "SELECT concat_ws('|', " + strings.Join(list, ", ") + ")"
	var expected []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		expected = append(expected, want[name])
	}
	got := map[string]string{}
	conn, err := postgres.Connect(t.Context(), url, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	pool, err := postgres.NewPool(t.Context(), url, "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	sender, err := postgres.ConnectReplication(t.Context(), url, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close(t.Context()) }()
	results, err := sender.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got["sender"] = string(results[0].Rows[0][0])
	var one, pooled string
	if err := conn.QueryRow(t.Context(), sql).Scan(&one); err != nil {
		t.Fatal(err)
	}
	if err := pool.QueryRow(t.Context(), sql).Scan(&pooled); err != nil {
		t.Fatal(err)
	}
	got["connection"], got["pool"] = one, pooled
	for what, text := range got {
		if text != strings.Join(expected, "|") {
			t.Errorf("%s: %s\nwant %s", what, text, strings.Join(expected, "|"))
		}
	}
}
