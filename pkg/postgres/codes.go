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
	switch code[:2] {
	case "08", "0A", "0L", "0P", "25", "26", "28", "2B", "34", "3B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58":
		return code != "40002" // a constraint, checked late
	}
	return false
}

// classOfCode says what to do about a SQLSTATE.
func classOfCode(code string) fault.Class {
	switch code {
	case "40002", // a constraint violated at commit
		"44000", // a view's check option
		"54000": // an index row that is too long: the value's fault
		return fault.ClassPoison
	case "53400": // a configured limit: nothing frees itself
		return fault.ClassFatal
	case "25006", // read only: the server will be promoted, or told apart by a person
		"25P03", // idle for too long
		"55P03", // lock not available
		"55006", // object in use: a slot's former owner is still being shut down
		"57014": // a timeout cancelled it
		return fault.ClassTransient
	}
	switch {
	case strings.HasPrefix(code, "22"), strings.HasPrefix(code, "23"), strings.HasPrefix(code, "P0"):
		return fault.ClassPoison
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "40"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57P0"):
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
		"28000": "invalid_authorization_specification", "28P01": "invalid_password", "3D000": "invalid_catalog_name",
		"40001": "serialization_failure", "40P01": "deadlock_detected", "42501": "insufficient_privilege",
		"42703": "undefined_column", "42704": "undefined_object", "42710": "duplicate_object", "42P01": "undefined_table",
		"44000": "with_check_option_violation", "53100": "disk_full", "53300": "too_many_connections",
		"55006": "object_in_use", "55P03": "lock_not_available", "57014": "query_canceled", "57P01": "admin_shutdown",
		"57P02": "crash_shutdown", "57P03": "cannot_connect_now", "P0001": "raise_exception",
	}[code]
}
