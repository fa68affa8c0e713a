package postgres

import (
	"strings"

	"segue/pkg/fault"
)

// messageIsSafe says whether a message of this code speaks of connections, objects, privileges or resources, never of
// the values in a row. Codes that are not listed count as unsafe.
func messageIsSafe(code string) bool {
	if len(code) != 5 {
		return false
	}
	switch code {
	case "40002": // a constraint, checked late
		return false
	case "XX001", "XX002": // which block, which index: people need that to mend it
		return true
	}
	switch code[:2] {
	case "08", "0A", "0L", "0P", "25", "26", "28", "2B", "34", "3B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58":
		return true
	}
	return false
}

// classOfCode says what to do about a SQLSTATE. docs/operations/errors.md says it for people, and a test holds the two together.
//
// Transient is what passes by itself or by somebody's hand on the server, while the same statement stays right. Poison is what one row, or
// its order among others, is at fault for: less of the batch, another order or its absence helps. All else stops.
func classOfCode(code string) fault.Class {
	switch code {
	case "40002", // a constraint violated at commit
		"20000", // a trigger's CASE has no branch for the row
		"44000", // a view's check option
		"54000", // an index row that is too long: the value's fault
		"54001": // a value that is nested too deep, or a trigger that calls itself for it
		return fault.ClassPoison
	case "2200H", // a sequence is used up: no row is at fault, each further one would be
		"53400": // a configured limit: nothing frees itself
		return fault.ClassFatal
	case "25006", // read only: the server will be promoted, or told apart by a person
		"25P03", "25P04", // the session was ended for a transaction that took too long
		"55P03",          // lock not available
		"55006",          // object in use: a slot's former owner is still being shut down
		"57014",          // a timeout cancelled it
		"58000", "58030", // the system under the server failed: an I/O error passes, or the server stops by itself
		"HV00N": // a foreign server cannot be reached
		return fault.ClassTransient
	}
	switch code[:min(len(code), 2)] {
	case "08", "40", "53", "72":
		return fault.ClassTransient
	case "09", "21", "22", "23", "27", "2F", "38", "P0": // 09, 27, 2F, 38 and P0 come from triggers and functions of the target's owner
		return fault.ClassPoison
	}
	if strings.HasPrefix(code, "57P0") {
		return fault.ClassTransient
	}
	return fault.ClassFatal
}

// conditionName is PostgreSQL's word for the codes that people meet most.
func conditionName(code string) string {
	return map[string]string{
		"22001": "string_data_right_truncation", "22003": "numeric_value_out_of_range", "22007": "invalid_datetime_format",
		"22008": "datetime_field_overflow", "22012": "division_by_zero", "22021": "character_not_in_repertoire",
		"22P02": "invalid_text_representation", "22P03": "invalid_binary_representation", "22P05": "untranslatable_character",
		"23001": "restrict_violation", "23502": "not_null_violation", "23503": "foreign_key_violation", "23505": "unique_violation",
		"23514": "check_violation", "23P01": "exclusion_violation", "25006": "read_only_sql_transaction",
		"25P03": "idle_in_transaction_session_timeout", "25P04": "transaction_timeout",
		"28000": "invalid_authorization_specification", "28P01": "invalid_password", "3D000": "invalid_catalog_name",
		"40001": "serialization_failure", "40P01": "deadlock_detected", "42501": "insufficient_privilege",
		"42703": "undefined_column", "42704": "undefined_object", "42710": "duplicate_object", "42P01": "undefined_table",
		"44000": "with_check_option_violation", "53100": "disk_full", "53200": "out_of_memory", "53300": "too_many_connections",
		"55006": "object_in_use", "55P03": "lock_not_available", "57014": "query_canceled", "57P01": "admin_shutdown",
		"57P02": "crash_shutdown", "57P03": "cannot_connect_now", "57P04": "database_dropped", "57P05": "idle_session_timeout",
		"58030": "io_error", "58P01": "undefined_file", "P0001": "raise_exception", "XX001": "data_corrupted", "XX002": "index_corrupted",
	}[code]
}
