package migration

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"segue/schemas"
)

func schema(t *testing.T) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schemas.Migration))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("segue.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("segue.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	root, _ := doc.(map[string]any)
	return s, root
}

// asJSON is the document as an editor's schema check sees it.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	stores = "migration: shop\nsource: {postgres: a}\ntarget: {postgres: b}\n"
	tables = "tables: [{from: public.a}]\n"
)

func withTarget(more string) string {
	return "migration: shop\nsource: {postgres: a}\ntarget: {postgres: b, " + more + "}\n" + tables
}

func one(entry string) string { return stores + "tables:\n  - " + entry + "\n" }

func parseText(text string) (*Spec, error) {
	return Parse(Input{Path: "segue.yaml", Text: []byte(text), Getenv: func(name string) (string, bool) {
		v, ok := map[string]string{"NAME": "shop", "TABLE": "public.a", "KEEP": "7d", "WIRE": "json", "EMPTY": ""}[name]
		return v, ok
	}})
}

// The schema and the parser take and refuse the same documents.
func TestSchemaAgreesWithParser(t *testing.T) {
	s, _ := schema(t)
	good := []string{
		stores + tables,
		"migration: a-1\nsource: {postgres: a}\ntarget: {postgres: b}\nkafka: {partitions: 1, replication: 9, retention: 5m}\n" + tables,
		stores + "kafka: {}\n" + tables,
		stores + "protect: {}\n" + tables,
		stores + "protect: {warn_retained_wal: 500MB, max_retained_wal: 2TB, warn_catalog_xmin_age: 1, max_catalog_xmin_age: 2000000000, warn_inactive: 90s, on_limit: drop}\n" + tables,
		stores + "kafka: {wire: avro}\n" + tables, stores + "kafka: {wire: json}\n" + tables, stores + "kafka: {wire: \"${WIRE}\"}\n" + tables,
		stores + "park: {limit: 1, per_table: 100000}\n" + tables,
		stores + "kafka: {partitions: 256, retention: 99999m}\n" + tables,
		stores + "kafka: {compression: zstd}\n" + tables,
		"migration: ${NAME}\nsource: {postgres: a}\ntarget: {postgres: b}\nkafka: {retention: \"${KEEP}\"}\ntables: [{from: \"${TABLE}\"}]\n",
		stores + "load: {workers: 32, chunk: 64kB, rows_per_second: 1, bytes_per_second: 20 MB, pause_while: {active_sessions: 40, standby_lag: 1TB}}\n" + tables,
		stores + "load: {pause_while: {}}\n" + tables,
		withTarget("indexes: keep"), withTarget("indexes: after_load, index_workers: 32"), withTarget("pause_while: {}"),
		withTarget("pause_while: {active_sessions: 40, standby_lag: 1TB, max_pause: 90s}"),
		one(`{from: public.*, exclude: [public.b, public.c_*], to: crm.*}`),
		one(`{from: "*.customers", to: "*.customer"}`),
		one(`{from: 'public."Weird.Name"', to: 'crm."a ""b"" *"'}`),
		one(`{from: Public.Größe}`),
		one(`{from: public.a*b}`),
		one(`{from: public.a, where: "x == 1", set: {a: b, c: {const: x}, d: {const: null}, e: {const: 1.50}, f: {const: true}, "*": "*"}, ignore: [x, y]}`),
		one(`{from: public.a, set: {"*": "*"}, ignore: []}`),
		one(`{from: public.a, on_schema_change: ignore}`), stores + "on_schema_change: pause\n" + tables,
	}
	for _, text := range good {
		if _, err := parseText(text); err != nil {
			t.Errorf("the parser refuses\n%s%v", text, err)
		}
		if err := s.Validate(asJSON(t, text)); err != nil {
			t.Errorf("the schema refuses\n%s%v", text, err)
		}
	}
	bad := []string{
		"[]", "migration: shop", stores, tables,
		stores + "tables: []", stores + "tables: {}", stores + "tables: [a]",
		"migration: Shop\nsource: {postgres: a}\ntarget: {postgres: b}\n" + tables,
		"migration: a_b\nsource: {postgres: a}\ntarget: {postgres: b}\n" + tables,
		"migration: 1a\nsource: {postgres: a}\ntarget: {postgres: b}\n" + tables,
		"migration: " + strings.Repeat("a", 41) + "\nsource: {postgres: a}\ntarget: {postgres: b}\n" + tables,
		"migration: 5\nsource: {postgres: a}\ntarget: {postgres: b}\n" + tables,
		"migration: shop\nsource: a\ntarget: {postgres: b}\n" + tables,
		"migration: shop\nsource: {}\ntarget: {postgres: b}\n" + tables,
		"migration: shop\nsource: {postgres: \"\"}\ntarget: {postgres: b}\n" + tables,
		"migration: shop\nsource: {postgres: null}\ntarget: {postgres: b}\n" + tables,
		"migration: shop\nsource: {postgres: a, port: 1}\ntarget: {postgres: b}\n" + tables,
		stores + "extra: 1\n" + tables,
		stores + "park: {limit: 0}\n" + tables, stores + "park: {per_table: 100001}\n" + tables, stores + "park: {rows: 1}\n" + tables,
		stores + "kafka: {partitions: 0}\n" + tables, stores + "kafka: {partitions: 257}\n" + tables,
		stores + "kafka: {partitions: 1.5}\n" + tables, stores + "kafka: {partitions: four}\n" + tables,
		stores + "kafka: {replication: 10}\n" + tables, stores + "kafka: {topics: 1}\n" + tables,
		stores + "kafka: {retention: 4m}\n" + tables, stores + "kafka: {retention: 1.5h}\n" + tables,
		stores + "kafka: {wire: protobuf}\n" + tables, stores + "kafka: {wire: JSON}\n" + tables, stores + "kafka: {wire: 1}\n" + tables,
		stores + "protect:\n" + tables, stores + "protect: {max_retained_wal: 50}\n" + tables, stores + "protect: {max_retained_wal: 50gb}\n" + tables,
		stores + "protect: {max_retained_wal: 1.5GB}\n" + tables, stores + "protect: {warn_retained_wal: 0MB}\n" + tables,
		stores + "protect: {warn_catalog_xmin_age: 0}\n" + tables, stores + "protect: {max_catalog_xmin_age: 2000000001}\n" + tables,
		stores + "protect: {warn_inactive: 1d}\n" + tables, stores + "protect: {on_limit: ignore}\n" + tables, stores + "protect: {on_limit: true}\n" + tables,
		stores + "protect: {max_slots: 1}\n" + tables,
		stores + "kafka: {retention: 24}\n" + tables, stores + "kafka:\n" + tables,
		stores + "kafka: {compression: gzip}\n" + tables,
		stores + "load: {workers: 33}\n" + tables, stores + "load: {chunk: 4096}\n" + tables, stores + "load: {chunk: 4mb}\n" + tables,
		stores + "load: {bytes_per_second: 1.5GB}\n" + tables, stores + "load: {rows_per_second: 0}\n" + tables,
		withTarget("indexes: drop"), withTarget("indexes: true"), withTarget("index_workers: 0"), withTarget("index_workers: 33"), withTarget("port: 1"),
		withTarget("pause_while: {max_pause: 1d}"), withTarget("pause_while: {standby_lag: 10}"), withTarget("pause_while: 5"),
		"migration: shop\nsource: {postgres: a, indexes: keep}\ntarget: {postgres: b}\n" + tables,
		stores + "load: {pause_while: {standby_lag: 10}}\n" + tables, stores + "load: {pause_while: 5}\n" + tables,
		one(`{to: crm.a}`), one(`{from: customers}`), one(`{from: a.b.c}`), one(`{from: ".a"}`), one(`{from: "a."}`),
		one(`{from: 'a."b'}`), one(`{from: 'a."b"c'}`), one(`{from: 'a.""'}`), one(`{from: 'a.b c'}`), one(`{from: "a.**"}`),
		one(`{from: [a.b]}`), one(`{from: public.a, to: 1}`), one(`{from: public.a, where: true}`), one(`{from: public.a, where: " "}`),
		one(`{from: public.*, exclude: public.b}`), one(`{from: public.*, exclude: [b]}`),
		one(`{from: public.a, set: {}}`), one(`{from: public.a, set: []}`), one(`{from: public.a, set: {a: 1}}`),
		one(`{from: public.a, set: {a: ""}}`), one(`{from: public.a, set: {"": b}}`), one(`{from: public.a, set: {a: null}}`),
		one(`{from: public.a, set: {a: {}}}`), one(`{from: public.a, set: {a: {const: [1]}}}`), one(`{from: public.a, set: {a: {const: 1, x: 2}}}`),
		one(`{from: public.a, set: {"*": id}}`), one(`{from: public.a, set: {"*": {const: x}}}`),
		one(`{from: public.a, ignore: a}`), one(`{from: public.a, ignore: [1]}`), one(`{from: public.a, ignore: [""]}`),
		one(`{from: public.a, ignore: [a, a]}`), one(`{from: public.a, on: x}`),
		one(`{from: public.a, on_schema_change: stop}`), stores + "on_schema_change: 1\n" + tables,
	}
	for _, text := range bad {
		if _, err := parseText(text); err == nil {
			t.Errorf("the parser takes\n%s", text)
		}
		if err := s.Validate(asJSON(t, text)); err == nil {
			t.Errorf("the schema takes\n%s", text)
		}
	}
}

var knownHere = regexp.MustCompile(`known here: ([a-z_, ]+)`)

// Every key of the schema is known to the parser, and the other way round.
func TestSchemaAndParserKnowTheSameKeys(t *testing.T) {
	_, root := schema(t)
	at := func(path ...string) any {
		var v any = root
		for _, p := range path {
			m, _ := v.(map[string]any)
			v = m[p]
		}
		return v
	}
	for _, tt := range []struct {
		text string // with an unknown key in the object
		path []string
	}{
		{stores + tables + "zzzzzz: 1\n", []string{"properties"}},
		{"migration: shop\nsource: {postgres: a, zzzzzz: 1}\ntarget: {postgres: b}\n" + tables, []string{"$defs", "store", "properties"}},
		{withTarget("zzzzzz: 1"), []string{"properties", "target", "properties"}},
		{withTarget("pause_while: {zzzzzz: 1}"), []string{"properties", "target", "properties", "pause_while", "properties"}},
		{stores + tables + "kafka: {zzzzzz: 1}\n", []string{"properties", "kafka", "properties"}},
		{stores + tables + "load: {zzzzzz: 1}\n", []string{"properties", "load", "properties"}},
		{stores + tables + "load: {pause_while: {zzzzzz: 1}}\n", []string{"properties", "load", "properties", "pause_while", "properties"}},
		{stores + tables + "protect: {zzzzzz: 1}\n", []string{"properties", "protect", "properties"}},
		{one("{from: public.a, zzzzzz: 1}"), []string{"$defs", "table", "properties"}},
		{one("{from: public.a, set: {a: {const: 1, zzzzzz: 1}}}"), []string{"$defs", "constant", "properties"}},
	} {
		_, err := parseText(tt.text)
		if err == nil {
			t.Fatalf("an unknown key passes:\n%s", tt.text)
		}
		m := knownHere.FindStringSubmatch(err.Error())
		if m == nil {
			t.Fatalf("no list of known keys in: %v", err)
		}
		known := strings.Split(m[1], ", ")
		properties, _ := at(tt.path...).(map[string]any)
		var published []string
		for key := range properties {
			published = append(published, key)
		}
		slices.Sort(known)
		slices.Sort(published)
		if !slices.Equal(known, published) {
			t.Errorf("%v: the parser knows %v, the schema %v", tt.path, known, published)
		}
	}
}
