package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"segue/pkg/fault"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

const typesDDL = `
CREATE SCHEMA "App x";
CREATE DOMAIN "App x".code AS varchar(5);
CREATE DOMAIN "App x".code2 AS "App x".code CHECK (VALUE <> '');
CREATE DOMAIN "App x".ints AS int[];
CREATE DOMAIN "App x".flags AS bit(3);
CREATE TYPE "App x".mood AS ENUM ('ok');
CREATE TYPE "App x".pair AS (a int, b "App x".code);
CREATE TYPE "App x".span AS RANGE (subtype = numeric);
CREATE DOMAIN "App x".moods AS "App x".mood[];
CREATE TABLE "App x".t (
	c01 int, c02 varchar(5)[], c03 character(3), c04 bit(4), c05 bit varying(4), c06 character(3)[], c07 bit(2)[], c08 numeric(5,2), c09 "char",
	c10 timestamp(3) with time zone, c11 interval day to second(2), c12 text, c13 name,
	c14 "App x".code2, c15 "App x".code2[], c16 "App x".ints, c17 "App x".ints[], c18 "App x".flags, c19 "App x".mood, c20 "App x".mood[],
	c21 "App x".pair, c22 "App x".span, c23 "App x".moods, c24 int[][], c25 "App x".pair[])`

func TestTypesAreNamedWithTheirSchemaAndNeverCut(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, typesDDL)
	want := []string{
		`integer|integer`, `character varying(5)[]|character varying[]`, `character(3)|bpchar`, `bit(4)|"bit"`, `bit varying(4)|bit varying`,
		`character(3)[]|bpchar[]`, `bit(2)[]|"bit"[]`, `numeric(5,2)|numeric`, `"char"|"char"`,
		`timestamp(3) with time zone|timestamp with time zone`, `interval day to second(2)|interval`, `text|text`, `name|name`,
		`"App x".code2|character varying`, `"App x".code2[]|character varying[]`, `"App x".ints|integer[]`, `"App x".ints[]|"App x".ints[]`,
		`"App x".flags|"bit"`, `"App x".mood|"App x".mood`, `"App x".mood[]|"App x".mood[]`,
		`"App x".pair|"App x".pair`, `"App x".span|"App x".span`, `"App x".moods|"App x".mood[]`, `integer[]|integer[]`, `"App x".pair[]|"App x".pair[]`,
	}
	for _, path := range []string{`''`, `"App x", public`} {
		pgtest.Exec(t, conn, `SET search_path = `+path)
		shapes, err := postgres.Tables(t.Context(), conn, []table.Name{{Schema: "App x", Table: "t"}})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range shapes[0].Columns {
			if got := c.Type + "|" + c.Base; got != want[i] {
				t.Errorf("search_path %s: column %s is %s, want %s", path, c.Name, got, want[i])
			}
		}
	}
	// The promise behind Base: a cast of a long text keeps all of it.
	pgtest.Exec(t, conn, `SET search_path = ''`)
	for base, text := range map[string]string{`bpchar`: "abcdef", `"bit"`: "101101", `bit varying`: "101101", `character varying`: "abcdef", `bpchar[]`: "{abcdef}", `"bit"[]`: "{101101}"} {
		var got string
		if err := conn.QueryRow(t.Context(), `SELECT $1::text::`+base+`::text`, text).Scan(&got); err != nil || got != text {
			t.Errorf("cast to %s: %q became %q, %v", base, text, got, err)
		}
	}
}

func TestColumnsKeys(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	for _, c := range []struct {
		name, ddl      string
		source, target string
		identity       table.Identity
	}{
		{"plain", `(a int, b int, PRIMARY KEY (b, a))`, "[b a]", "[b a]", 'd'},
		{"none", `(a int)`, "[]", "[]", 'd'},
		{"dropped columns before it", `(x int, y int, id int PRIMARY KEY, z int); ALTER TABLE # DROP x, DROP y`, "[id]", "[id]", 'd'},
		{"full with a key", `(v int, id int PRIMARY KEY); ALTER TABLE # REPLICA IDENTITY FULL`, "[id]", "[id]", 'f'},
		{"full without", `(v int NOT NULL UNIQUE); ALTER TABLE # REPLICA IDENTITY FULL`, "[]", "[v]", 'f'},
		{"an index", `(id int PRIMARY KEY, v int NOT NULL, w int); CREATE UNIQUE INDEX "#v" ON # (v) INCLUDE (w); ALTER TABLE # REPLICA IDENTITY USING INDEX "#v"`, "[v]", "[id]", 'i'},
		{"nothing", `(id int PRIMARY KEY); ALTER TABLE # REPLICA IDENTITY NOTHING`, "[]", "[id]", 'n'},
		{"deferrable key", `(id int PRIMARY KEY DEFERRABLE)`, "[]", "[]", 'd'},
		{"unique but nullable", `(a int UNIQUE, b int NOT NULL)`, "[]", "[]", 'd'},
		{"unique in part", `(a int NOT NULL); CREATE UNIQUE INDEX ON # (a) WHERE a > 0`, "[]", "[]", 'd'},
		{"unique expression", `(a int NOT NULL); CREATE UNIQUE INDEX ON # ((a + 1))`, "[]", "[]", 'd'},
		{"several unique", `(a int NOT NULL, b int NOT NULL, c int NOT NULL, UNIQUE (a, b), UNIQUE (c))`, "[]", "[c]", 'd'},
		{"partitioned", `(a int, b int, PRIMARY KEY (a)) PARTITION BY LIST (a)`, "[a]", "[a]", 'd'},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := table.Name{Schema: "public", Table: strings.ReplaceAll(c.name, " ", "_")}
			pgtest.Exec(t, conn, strings.ReplaceAll(`CREATE TABLE # `+c.ddl, "#", n.Table))
			source, err1 := postgres.Tables(t.Context(), conn, []table.Name{n})
			target, err2 := postgres.TargetTables(t.Context(), conn, []table.Name{n})
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if keyNames(source[0]) != c.source || keyNames(target[0]) != c.target || source[0].Identity != c.identity {
				t.Errorf("source %s, target %s, identity %c", keyNames(source[0]), keyNames(target[0]), source[0].Identity)
			}
			if source[0].Partitioned != (c.name == "partitioned") || source[0].OID == 0 || source[0].Name != n {
				t.Errorf("%+v", source[0])
			}
		})
	}
}

func keyNames(t *table.Table) string {
	names := []string{}
	for _, k := range t.Key {
		names = append(names, t.Columns[k].Name)
	}
	return fmt.Sprint(names)
}

func TestColumnProperties(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, `CREATE TABLE t (a int NOT NULL, b int DEFAULT 3, c int GENERATED ALWAYS AS (b + 1) STORED, d int GENERATED ALWAYS AS IDENTITY, e int GENERATED BY DEFAULT AS IDENTITY, f serial)`)
	shapes, err := postgres.Tables(t.Context(), conn, []table.Name{{Schema: "public", Table: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range shapes[0].Columns {
		got = append(got, fmt.Sprintf("%s %v %v %v %v", c.Name, c.NotNull, c.Default, c.Generated, c.AlwaysIdentity))
	}
	want := []string{"a true false false false", "b false true false false", "c false true true false", "d true true false true", "e true true false false", "f true true false false"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestTablesThatCannotBeSelected(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, `CREATE VIEW v AS SELECT 1; CREATE SEQUENCE s; CREATE TABLE "T" ()`)
	for name, want := range map[string]string{"v": "it is a view", "s": "it is a sequence", "nowhere": "there is no such table", "t": "there is no such table"} {
		_, err := postgres.Tables(t.Context(), conn, []table.Name{{Schema: "public", Table: "T"}, {Schema: "public", Table: name}})
		if err == nil || !strings.Contains(err.Error(), "public."+name) || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if shapes, err := postgres.Tables(t.Context(), conn, nil); err != nil || len(shapes) != 0 {
		t.Errorf("no names: %v, %v", shapes, err)
	}
}

func TestAllTables(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, `CREATE SCHEMA app; CREATE TABLE b (); CREATE TABLE app.a (); CREATE TABLE "B" (); CREATE TABLE p (i int) PARTITION BY LIST (i); CREATE TABLE p1 PARTITION OF p DEFAULT;
		CREATE TEMP TABLE gone (); CREATE UNLOGGED TABLE loose (); CREATE VIEW v AS SELECT 1; CREATE TABLE child () INHERITS (b)`)
	names, err := postgres.AllTables(t.Context(), conn)
	want := []table.Name{{Schema: "app", Table: "a"}, {Schema: "public", Table: "B"}, {Schema: "public", Table: "b"}, {Schema: "public", Table: "child"}, {Schema: "public", Table: "p"}}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("%v, %v", names, err)
	}
}
