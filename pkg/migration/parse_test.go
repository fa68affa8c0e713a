package migration

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"segue/pkg/table"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Every mistake is told at once, with its place, and no secret is shown with it (P10).
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := Parse(Input{Path: "segue.yaml", Text: text, ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist }})
			var found Diagnostics
			if spec != nil || !errors.As(err, &found) {
				t.Fatalf("got %v; want diagnostics", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is shown:\n%v", err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, e := os.ReadFile(golden)
			if e != nil {
				t.Fatal(e)
			}
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	spec, err := Parse(Input{
		Path: "/etc/segue/segue.yaml",
		Text: []byte(`
migration: shop
source: {postgres: "postgres://${USER_NAME}@db/$${x}"}
target: {postgres: "${file:secrets/target}"}
kafka: {retention: 7d}
tables:
  - from: public.customers
    to: crm.customer
    where: 'a == "b"'
    set: {id: id, origin: {const: 1.50}, since: {const: 2020-01-02}, gone: {const: null}, "*": "*"}
    ignore: [fax]
  - from: old.*
    exclude: [old.tmp_*]
    to: new.*
`),
		Getenv: func(name string) (string, bool) { return "ann", name == "USER_NAME" },
		ReadFile: func(path string) ([]byte, error) {
			if path != "/etc/segue/secrets/target" {
				return nil, fs.ErrNotExist
			}
			return []byte("postgres://t\n"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if spec.Name != "shop" || string(spec.Source.Postgres) != "postgres://ann@db/${x}" || string(spec.Target.Postgres) != "postgres://t" {
		t.Errorf("name %s, connections %q, %q", spec.Name, string(spec.Source.Postgres), string(spec.Target.Postgres))
	}
	if k := spec.Kafka; k.Partitions != DefaultPartitions || k.Retention != 7*24*time.Hour || k.ReplicationOn(1) != 1 || k.ReplicationOn(5) != 3 {
		t.Errorf("kafka %+v", k)
	}
	first := spec.Tables[0]
	if got := fmt.Sprintln(first.Set[1].Value.Value, first.Set[2].Value.Value, first.Set[3].Null, first.Rest.IsZero(), first.Ignore[0].Value); got != "1.50 2020-01-02 true false fax\n" {
		t.Errorf("set is %s", got)
	}
	if got := first.Where.Inside(5); got != (Place{Line: 9, Column: 18}) {
		t.Errorf("the sixth character of where is at %v", got)
	}
	second := spec.Tables[1]
	if second.Set != nil || !second.Selects(table.Name{Schema: "old", Table: "a"}) || second.Selects(table.Name{Schema: "old", Table: "tmp_a"}) {
		t.Errorf("the second entry is %+v", second)
	}
	if got := second.Destination(table.Name{Schema: "old", Table: "a"}); got != (table.Name{Schema: "new", Table: "a"}) {
		t.Errorf("old.a goes to %s", got)
	}
	d := spec.Mistake(first.Where.At, "no")
	if want := "/etc/segue/segue.yaml:9:13: no\n  |     where: 'a == \"b\"'\n  |             ^"; d.String() != want {
		t.Errorf("got\n%s\nwant\n%s", d, want)
	}
}

// P10: no way of printing shows a connection string.
func TestSecretsStaySecret(t *testing.T) {
	spec, err := parseText("migration: shop\nsource: {postgres: hunter2}\ntarget: {postgres: hunter2}\n" + tables)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb, spec.Source, spec.Source.Postgres)
	}
	text, err := json.Marshal(spec.Source)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "a", spec.Source.Postgres, "b", spec.Source)
	if s := out.String(); strings.Contains(s, "hunter2") || strings.Contains(s, "68756e") || !strings.Contains(s, "[secret]") {
		t.Errorf("shown: %s", s)
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, schema, table string
		match                  bool
	}{
		{"public.a", "public", "a", true},
		{"public.a", "public", "A", false},
		{"public.*", "public", "", true},
		{"public.*", "publicx", "a", false},
		{"*.a", "x", "a", true},
		{"public.a*z", "public", "az", true},
		{"public.ab*ba", "public", "aba", false},
		{`"a.b"."*"`, "a.b", "*", true},
		{`"a.b"."*"`, "a.b", "x", false},
		{`public."say ""hi"""`, "public", `say "hi"`, true},
	} {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(table.Name{Schema: tt.schema, Table: tt.table}); got != tt.match {
			t.Errorf("%s matches %s.%s: %v", tt.pattern, tt.schema, tt.table, got)
		}
	}
	for _, tt := range []struct{ from, to, source, want string }{
		{"public.*", "crm.*", "customers", "crm.customers"},
		{"public.old_*", "crm.*_new", "old_a", "crm.a_new"},
		{"public.a", "*.b", "a", "public.b"},
		{"*.*", "*.t_*", "a", "public.t_a"},
	} {
		from, err1 := ParsePattern(tt.from)
		to, err2 := ParsePattern(tt.to)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if got := to.fill(from, table.Name{Schema: "public", Table: tt.source}).String(); got != tt.want {
			t.Errorf("%s to %s: %s becomes %s, want %s", tt.from, tt.to, tt.source, got, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	n := Name("shop-2")
	orders := table.Name{Schema: "public", Table: "orders"}
	for got, want := range map[string]string{
		n.RawTopic(orders):           "shop-2.raw.public.orders",
		n.ShapedTopic(orders):        "shop-2.shaped.public.orders",
		n.UniqueTopic(orders):        "shop-2.unique.public.orders",
		n.RawLane(orders.Topic()):    "shop-2.raw.public.orders",
		n.ShapedLane(orders.Topic()): "shop-2.shaped.public.orders",
		n.UniqueLane(orders.Topic()): "shop-2.unique.public.orders",
		n.FrontierTopic("reader"):    "shop-2.reader.frontier",
		n.RequestsTopic():            "shop-2.requests",
		n.DeadTopic():                "shop-2.dead",
		n.Slot():                     "segue_shop_2",
		n.Publication():              "segue_shop_2",
		n.MarkPrefix():               "segue:shop-2",
		n.ApplicationName("reader"):  "segue:shop-2:reader",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	longest := Name(strings.Repeat("a", maxName))
	if !longest.valid() || len(longest.Slot()) > 63 || len(longest.ApplicationName("deduplicator")) > 63 {
		t.Error("the longest name does not fit PostgreSQL's 63 bytes")
	}
	long := strings.Repeat("Ä", 63)
	if topic := longest.UniqueTopic(table.Name{Schema: long, Table: long}); len(topic) > 249 {
		t.Errorf("a topic of %d characters: Kafka takes 249", len(topic))
	}
}

func TestNearest(t *testing.T) {
	names := []string{"from", "exclude", "to", "where", "set", "ignore"}
	for given, want := range map[string]string{"form": "from", "ignroe": "ignore", "WHERE": "where", "whatever": "", "excludes": "exclude"} {
		if got := Nearest(given, names); got != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}

// Whatever the text is, Parse ends with a spec or with diagnostics.
func FuzzParse(f *testing.F) {
	f.Add(stores + tables)
	f.Add("a: &a [*a]")
	f.Add("tables: &t [{from: *t}]")
	f.Add("{postgres: \"${file:}\"")
	f.Add("source: {postgres: |\n  x\n  y}")
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := parseText(text)
		var found Diagnostics
		if (spec == nil) == (err == nil) || (err != nil && !errors.As(err, &found)) {
			t.Errorf("got %v, %v", spec, err)
		}
	})
}
