package postgres

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// pinned is every setting that changes the text of a value, the number of rows or how long a statement may take.
// Timeouts are off: a caller that wants one sets it after Pin.
func pinned() map[string]string {
	return map[string]string{
		"datestyle":                           "ISO, MDY",
		"intervalstyle":                       "postgres",
		"timezone":                            "UTC",
		"bytea_output":                        "hex",
		"extra_float_digits":                  "3",
		"lc_monetary":                         "C",
		"client_encoding":                     "UTF8",
		"xmloption":                           "content",
		"array_nulls":                         "on",
		"quote_all_identifiers":               "off", // in the names of types, and in values of regclass and its kind
		"standard_conforming_strings":         "on",
		"transform_null_equals":               "off",
		"search_path":                         "",
		"row_security":                        "off", // PostgreSQL then refuses instead of filtering
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"idle_in_transaction_session_timeout": "0",
	}
}

// Pinned returns the settings by name, for a session that makes sure of them by a statement of its own.
func Pinned() map[string]string { return pinned() }

// PinSQL is the text of what Pin sends: several SET LOCAL statements, for the simple protocol. They are SET and not
// set_config, because a SELECT would take a REPEATABLE READ transaction's snapshot before its locks.
func PinSQL() string { return strings.Join(PinStatements(), "; ") }

// PinStatements are the statements of PinSQL one by one, for pipelines.
func PinStatements() []string {
	settings := pinned()
	out := make([]string, 0, len(settings))
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		out = append(out, "SET LOCAL "+name+" = '"+settings[name]+"'")
	}
	return out
}

// Pin sets all of them for the rest of the transaction, in one round trip. It is called inside every transaction that
// reads or writes rows: a pooler may change the backend between two.
func Pin(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, PinSQL()); err != nil {
		return stepError("pin session settings", err)
	}
	return nil
}
