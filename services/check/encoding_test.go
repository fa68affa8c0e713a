package check_test

import (
	"context"
	"strings"
	"testing"

	"segue/pkg/pgtest"
	"segue/services/check"
)

func in(encoding string) string { return "ENCODING '" + encoding + "' LOCALE 'C'" }

func TestEncodings(t *testing.T) {
	bases := map[string]string{}
	for _, e := range []string{"UTF8", "LATIN1", "WIN1252", "SQL_ASCII"} {
		bases[e] = pgtest.DatabaseWith(t, in(e))
		pgtest.Exec(t, pgtest.Connect(t, bases[e]), `CREATE TABLE a (id int PRIMARY KEY, v text)`)
	}
	for _, c := range []struct {
		source, target string
		wants          [][4]string // severity, object, text, mend
	}{
		{"LATIN1", "UTF8", nil},
		{"LATIN1", "LATIN1", nil},
		{"UTF8", "LATIN1", [][4]string{{"warning", "target", "with a character that LATIN1 does not have", "the source, in UTF8,"}}},
		{"WIN1252", "LATIN1", [][4]string{{"warning", "target", "LATIN1", "the source, in WIN1252,"}}},
		{"SQL_ASCII", "UTF8", [][4]string{{"warning", "source", "SQL_ASCII", "convert_to(c, 'UTF8')"}}},
		{"SQL_ASCII", "SQL_ASCII", [][4]string{{"warning", "source", "SQL_ASCII", ""}}},
		{"UTF8", "SQL_ASCII", [][4]string{{"error", "target", "SQL_ASCII", "CREATE DATABASE … ENCODING 'UTF8'"}}},
	} {
		var found []check.Finding
		for _, f := range run(t, spec(t, bases[c.source], bases[c.target], `  - from: public.*`)) {
			if strings.Contains(f.Text, "encoding") {
				found = append(found, f)
			}
		}
		if len(found) != len(c.wants) {
			t.Errorf("%s to %s: found\n%s", c.source, c.target, list(found))
		}
		for _, w := range c.wants {
			wants(t, found, check.Severity(w[0]), w[1], w[2], w[3])
		}
	}
}

// What check says about a source in SQL_ASCII is what one can do.
func TestAWayOnFromUnknownBytes(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.DatabaseWith(t, in("SQL_ASCII")))
	pgtest.Exec(t, conn, `CREATE TABLE t (c text)`, `INSERT INTO t VALUES (convert_from('\x4de4728080', 'SQL_ASCII'))`)
	const look = `SELECT count(convert_to(c, 'UTF8')) FROM t`
	if _, err := conn.Exec(t.Context(), look); err == nil || !strings.Contains(err.Error(), "22021") {
		t.Fatalf("bytes that are no UTF-8: %v", err)
	}
	pgtest.Exec(t, conn, `UPDATE t SET c = convert_from(convert(textsend(c), 'WIN1252', 'UTF8'), 'SQL_ASCII')`, look)
	var got string
	if err := conn.QueryRow(context.Background(), `SELECT encode(textsend(c), 'escape') FROM t`).Scan(&got); err != nil || got != `M\303\244r\342\202\254\342\202\254` {
		t.Errorf("got %s, %v", got, err)
	}
}
