package pgtarget

import (
	"fmt"
	"strings"
	"testing"

	"segue/pkg/change"
)

// TestWidestTable puts a table of 1600 columns, as many as PostgreSQL allows, through every kind of statement: parameters, the target list's 1664 places and
// the changes of keys that go as delete and insert.
func TestWidestTable(t *testing.T) {
	const columns = 1600
	var ddl []string
	for i := 1; i < columns; i++ {
		ddl = append(ddl, fmt.Sprintf("c%d bool", i))
	}
	r := newRig(t, "CREATE TABLE wide (id int PRIMARY KEY, "+strings.Join(ddl, ", ")+")", "wide")
	wide := func(id, value string) string { return id + strings.Repeat(","+value, columns-1) }
	r.do(0, change.Insert, "", wide("1", "t"))
	r.do(0, change.Insert, "", wide("2", "f"))
	r.do(0, change.Insert, "", wide("3", "NULL"))
	r.must()
	r.do(0, change.Update, "", wide("2", "t"))
	r.do(0, change.Update, "", wide("3", "?")[:len(wide("3", "?"))-1]+"t") // all but the last absent
	r.must()
	r.do(0, change.Update, "1", wide("4", "f"))
	r.do(0, change.Delete, "2", "")
	r.must()
	r.do(0, change.Update, "3", wide("5", "?"))
	r.do(0, change.Update, "4", wide("3", "?"))
	r.do(0, change.Update, "5", wide("4", "?"))
	r.must()
	r.want("SELECT string_agg(id || ' ' || coalesce(c1::text, '-') || ' ' || coalesce(c1599::text, '-'), ', ' ORDER BY id) FROM wide", "3 false false, 4 - true")
	// Two keys that trade places go as one statement, which takes the rows out and puts them in again.
	r.do(0, change.Update, "3", wide("4", "?"))
	r.do(0, change.Update, "4", wide("3", "?"))
	r.must()
	r.want("SELECT string_agg(id || ' ' || coalesce(c1::text, '-') || ' ' || coalesce(c1599::text, '-'), ', ' ORDER BY id) FROM wide", "3 - true, 4 false false")
	r.do(0, change.Update, "3", wide("4", "t"))
	r.do(0, change.Update, "4", wide("3", "f"))
	r.must()
	r.want("SELECT string_agg(id || ' ' || c1 || ' ' || c1599, ', ' ORDER BY id) FROM wide", "3 false false, 4 true true")
}
