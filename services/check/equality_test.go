package check_test

import (
	"os"
	"strings"
	"testing"

	"segue/pkg/pgtest"
	"segue/services/check"
)

func TestKeysThatOneSideTakesForEqual(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	from, to := pgtest.Connect(t, source), pgtest.Connect(t, target)
	var icu, citext bool
	err := from.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i'), EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext')`).Scan(&icu, &citext)
	if err != nil {
		t.Fatal(err)
	}
	if !icu && os.Getenv("CI") == "true" {
		t.Fatal("NOT TESTED, which CI must do: this server has no ICU")
	}
	if !icu {
		t.Skip("NOT TESTED: this server has no ICU")
	}
	const blur, other = `CREATE COLLATION blur (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`, `CREATE COLLATION other (provider = icu, locale = 'und-u-ks-level1', deterministic = false)`
	pgtest.Exec(t, from, blur, other, `CREATE TABLE a (k text, n int, PRIMARY KEY (n, k))`, `CREATE TABLE b (k text COLLATE blur PRIMARY KEY)`, `CREATE TABLE c (k text COLLATE other PRIMARY KEY)`,
		`CREATE TABLE d (k text PRIMARY KEY, v text)`, `CREATE TABLE e (k text NOT NULL)`, `CREATE UNIQUE INDEX e_k ON e (k)`, `ALTER TABLE e REPLICA IDENTITY USING INDEX e_k`)
	pgtest.Exec(t, to, blur, `CREATE TABLE a (k text COLLATE blur, n int, PRIMARY KEY (n, k))`, `CREATE TABLE b (k text COLLATE blur PRIMARY KEY)`, `CREATE TABLE c (k text COLLATE blur PRIMARY KEY)`,
		`CREATE TABLE d (k text PRIMARY KEY, v text COLLATE blur UNIQUE)`, `CREATE TABLE e (k text NOT NULL)`, `CREATE UNIQUE INDEX e_k ON e (k COLLATE blur)`)
	want := [][3]string{
		{"error", "target public.a", "key column k takes different texts for equal (collation blur), that of public.a does not"},
		{"warning", "target public.c", "(collation blur), that of public.c by collation other"},
		{"error", "target public.e", "(collation blur)"},
	}
	if citext {
		for _, c := range []string{`CREATE EXTENSION citext`, `CREATE DOMAIN mail AS citext`} {
			pgtest.Exec(t, from, c)
			pgtest.Exec(t, to, c)
		}
		pgtest.Exec(t, from, `CREATE TABLE f (k text PRIMARY KEY)`, `CREATE TABLE g (k mail PRIMARY KEY)`)
		pgtest.Exec(t, to, `CREATE TABLE f (k mail PRIMARY KEY)`, `CREATE TABLE g (k citext PRIMARY KEY)`)
		want = append(want, [3]string{"error", "target public.f", "(type citext)"})
	}
	var found []check.Finding
	for _, f := range run(t, spec(t, source, target, `  - from: public.*`)) {
		if strings.Contains(f.Text, "takes different texts") {
			found = append(found, f)
		}
	}
	if len(found) != len(want) {
		t.Errorf("found\n%s", list(found))
	}
	for _, w := range want {
		wants(t, found, check.Severity(w[0]), w[1], w[2], `TYPE text COLLATE "C"`)
	}
}
