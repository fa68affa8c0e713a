package main

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

// TestPipelineCollations takes text keys between databases that order them otherwise, and keys that both sides take for equal in any case.
func TestPipelineCollations(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	var version int
	var icu bool
	if err := pgtest.Connect(t, pgtest.Server(t).URL).QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int / 10000, EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')`).Scan(&version, &icu); err != nil {
		t.Fatal(err)
	}
	to, column := options("UTF8"), ""
	switch {
	case icu && version >= 15: // the first that can have it as a database's own
		to += ` LOCALE_PROVIDER icu ICU_LOCALE 'en-US'`
	case icu:
		column = ` COLLATE "en-US-x-icu"`
	default:
		t.Log("NOT TESTED: collations of ICU, which this server does not have")
	}
	s := encodingStory(t, servers.Addresses(), "collations", options("UTF8"), to)
	const words = `CREATE TABLE words (a text%[1]s, b varchar(20)%[1]s, n int, PRIMARY KEY (a, b)); CREATE TABLE marker (id int PRIMARY KEY)`
	pgtest.Exec(t, s.source, fmt.Sprintf(words, ""))
	pgtest.Exec(t, s.target, fmt.Sprintf(words, column))
	if icu {
		for _, c := range []*pgx.Conn{s.source, s.target} {
			pgtest.Exec(t, c, `CREATE COLLATION blur (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`, `CREATE TABLE blurred (k text COLLATE blur PRIMARY KEY, n int)`)
		}
		pgtest.Exec(t, s.source, `INSERT INTO blurred VALUES ('One', 1), ('two', 2), ('Three', 3), ('four', 4), ('five', 5)`)
	}
	pgtest.Exec(t, s.source, `INSERT INTO words SELECT w || g, CASE WHEN g % 2 = 0 THEN 'B' ELSE 'b' END || w, g FROM unnest(ARRAY['a', 'A', 'ä', 'Z', 'z', '-', 'a-b', 'ab', 'a b', '_', 'é', 'ß', 'ss', '']) w, generate_series(1, 60) g`)
	s.start()
	s.marker(1)
	pgtest.Exec(t, s.source, `UPDATE words SET n = -n WHERE n % 3 = 0`, `DELETE FROM words WHERE n % 7 = 0`, `UPDATE words SET a = upper(a) || '!' WHERE n = 10`,
		`INSERT INTO words SELECT upper(a), b, 0 FROM words ON CONFLICT DO NOTHING`)
	if icu {
		pgtest.Exec(t, s.source, `UPDATE blurred SET n = 10 WHERE k = 'ONE'`, `UPDATE blurred SET k = 'TWO' WHERE k = 'two'`,
			`BEGIN; DELETE FROM blurred WHERE k = 'three'; INSERT INTO blurred VALUES ('THREE', 33); COMMIT`, `DELETE FROM blurred WHERE k = 'FOUR'`,
			`INSERT INTO blurred VALUES ('FIVE', 55) ON CONFLICT (k) DO UPDATE SET k = excluded.k, n = excluded.n`)
	}
	s.marker(2)
	var all int
	if err := s.source.QueryRow(t.Context(), `SELECT count(*) FROM words`).Scan(&all); err != nil || all < 700 {
		t.Fatalf("%d rows: %v", all, err)
	}
	s.compareTexts("words", all)
	if icu {
		s.compareTexts("blurred", 4)
		s.want(`SELECT string_agg(k || n, ' ' ORDER BY k COLLATE "C") FROM blurred`, "FIVE55 One10 THREE33 TWO2")
	}
	if code := s.process().run(t.Context(), []string{"reconcile", "--wait"}); code != exitFine {
		s.fail("reconcile ended with exit code %d", code)
	}
}
