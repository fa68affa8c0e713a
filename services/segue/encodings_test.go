package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

// encodingStory is a pipeline between two databases that are made with these options of CREATE DATABASE.
func encodingStory(t *testing.T, a embedded.Addresses, name, from, to string) *story {
	t.Helper()
	s := &story{t: t, name: name, stages: "fused", wire: "avro"}
	source, target := pgtest.DatabaseWith(t, from), pgtest.DatabaseWith(t, to)
	s.source, s.target, s.admin = pgtest.Connect(t, source), pgtest.Connect(t, target), pgtest.Connect(t, target)
	for _, c := range []*pgx.Conn{s.source, s.target, s.admin} {
		pgtest.Exec(t, c, `SET client_encoding = 'UTF8'`)
	}
	file := filepath.Join(t.TempDir(), "segue.yaml")
	text := fmt.Sprintf("migration: %s\nsource: {postgres: %q}\ntarget: {postgres: %q}\nkafka: {partitions: 2}\ntables:\n  - from: \"*.*\"\n", name, source, target)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = map[string]string{
		"SEGUE_CONFIG": file, "SEGUE_KAFKA_BROKERS": a.Brokers[0], "SEGUE_REGISTRY_URL": a.Registry, "SEGUE_LISTEN": "off", "SEGUE_STAGES": s.stages,
		"GOMEMLIMIT": "off",
	}
	t.Cleanup(func() {
		s.stop()
		if code := s.process().run(context.Background(), []string{"target", "finish"}); code != exitFine { // the cluster has room for few origins
			t.Errorf("target finish ended with exit code %d: %s", code, s.log.String())
		}
	})
	return s
}

// TestPipelineEncodings takes texts, keys, enum labels and names of everything through the pipeline between databases of different
// encodings, loaded and streamed, and holds both stores against each other: by their text, and by segue's own comparison.
func TestPipelineEncodings(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	const latin, western, polish, japanese = "äöüßéÿ¿þ", "€äŠœž“”", "ąęłńśźżĄ", "日本語カナ漢字"
	for i, c := range []struct{ from, to, letters string }{
		{"LATIN1", "UTF8", latin},
		{"WIN1252", "UTF8", western},
		{"EUC_JP", "UTF8", japanese},
		{"UTF8", "LATIN1", latin},
		{"LATIN2", "WIN1250", polish}, // by way of UTF8: PostgreSQL need not know the pair
	} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			t.Parallel()
			s := encodingStory(t, servers.Addresses(), fmt.Sprintf("encodings%d", i), options(c.from), options(c.to))
			encodings(s, c.letters)
		})
	}
}

func options(encoding string) string { return fmt.Sprintf("ENCODING '%s' LOCALE 'C'", encoding) }

// encodings is the story of one pair. The letters stand in every place that holds text.
func encodings(s *story, letters string) {
	t := s.t
	t.Helper()
	runes := []rune(letters)
	first, second := string(runes[:2]), string(runes[2:4])
	with := func(sql string) string {
		return strings.NewReplacer("€1", first, "€2", second, "€all", letters).Replace(sql)
	}
	for _, c := range []*pgx.Conn{s.source, s.target} {
		pgtest.Exec(t, c, with(`CREATE SCHEMA "s€1"`), with(`CREATE TYPE "s€1"."t€2" AS ENUM ('€1', '€2', 'x')`),
			with(`CREATE TABLE "s€1"."r€2" ("k€1" text, e "s€1"."t€2", "v€2" text, c char(10), vc varchar(8), a text[], j jsonb, x xml, big text, raw bytea, PRIMARY KEY ("k€1", e))`),
			with(`ALTER TABLE "s€1"."r€2" ALTER COLUMN big SET STORAGE EXTERNAL`),
			with(`CREATE TABLE public.child (id char(6) PRIMARY KEY, k text, e "s€1"."t€2", FOREIGN KEY (k, e) REFERENCES "s€1"."r€2")`),
			`CREATE TABLE marker (id int PRIMARY KEY)`)
	}
	row := func(key, label string) string {
		return with(fmt.Sprintf(`INSERT INTO "s€1"."r€2" VALUES ('%s', '%s', '€all', '€1', '€all', ARRAY['€1', NULL, '"€2\'], '{"€1": "€2"}', '<€1>€all</€1>', repeat('€all', 2000), '\xe4ff00')`, key, label))
	}
	pgtest.Exec(t, s.source, row("€all", "€1"), row("€1", "€2"), row("plain", "x"), row("€2", "€1"),
		with(`INSERT INTO child VALUES ('€1', '€all', '€1'), ('€2', '€1', '€2')`),
		with(`INSERT INTO "s€1"."r€2" SELECT '€1' || g, 'x', '€2' || g FROM generate_series(1, 300) g`))
	s.start()
	s.marker(1)
	s.compareTexts(with(`"s€1"."r€2"`), 304)
	pgtest.Exec(t, s.source, row("new €1", "€2"), with(`UPDATE "s€1"."r€2" SET "v€2" = '€2€1', c = '€2' WHERE "k€1" = '€1'`), // big does not travel
		with(`UPDATE "s€1"."r€2" SET "k€1" = '€2€2', e = '€2', vc = '€1' WHERE "k€1" = '€2'`), with(`DELETE FROM "s€1"."r€2" WHERE "k€1" = '€17'`),
		with(`INSERT INTO child VALUES ('c€1', 'new €1', '€2')`), with(`UPDATE child SET id = '€2€1' WHERE id = '€1'`), with(`DELETE FROM child WHERE id = '€2'`))
	s.marker(2)
	s.compareTexts(with(`"s€1"."r€2"`), 304)
	s.compareTexts("child", 2)
	if code := s.process().run(t.Context(), []string{"reconcile", "--wait"}); code != exitFine {
		s.fail("reconcile ended with exit code %d", code)
	}
	// What is not the same is found, and named, too.
	pgtest.Exec(t, s.target, with(`UPDATE "s€1"."r€2" SET vc = '€2' WHERE "k€1" = '€all'`))
	before := len(s.log.String())
	if code := s.process().run(t.Context(), []string{"reconcile"}); code != exitDiffer || !strings.Contains(s.log.String()[before:], letters) {
		s.fail("reconcile ended with exit code %d, or does not name the row", code)
	}
}

// compareTexts holds the rows of a table on both sides against each other, as UTF-8.
func (s *story) compareTexts(name string, rows int) {
	s.t.Helper()
	read := func(c *pgx.Conn) []string {
		found, err := c.Query(s.t.Context(), `SELECT r::text FROM `+name+` r`)
		if err != nil {
			s.t.Fatal(err)
		}
		out, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			s.t.Fatal(err)
		}
		slices.Sort(out)
		return out
	}
	got, want := read(s.target), read(s.source)
	if len(want) != rows || !slices.Equal(got, want) {
		s.fail("%s: %d rows on the target, %d on the source, want %d:\n%s", name, len(got), len(want), rows, difference(got, want))
	}
}
