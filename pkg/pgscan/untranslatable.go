package pgscan

import (
	"segue/pkg/fault"
	"segue/pkg/postgres"
)

// untranslatable adds what to do where a row's text has no form in UTF-8. The class stays.
func untranslatable(err error) error {
	if !postgres.Untranslatable(err) {
		return err
	}
	return &fault.Error{
		Err: err, Class: fault.ClassOf(err),
		Hint: "a text of these rows has no form in UTF-8: SELECT count(convert_to(c, 'UTF8')) FROM the table fails for its column; correct it on the source, then start again (with REPLICA IDENTITY FULL " +
			"set the DEFAULT one before: the log would hold the old text too)",
	}
}
