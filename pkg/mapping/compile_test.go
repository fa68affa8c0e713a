package mapping

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/pkg/migration"
	"segue/pkg/table"
)

var update = flag.Bool("update", false, "write the golden files anew")

// story files hold the shapes (lines "source NAME column; column" and "target …"), a line "---", the tables of segue.yaml,
// a line "---" and what Compile says.
func TestFindings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.SplitN(string(text), "---\n", 3)
			source, target := shapes(t, parts[0])
			got := findings(t, parts[1], source, target)
			if *update {
				if err := os.WriteFile(file, []byte(parts[0]+"---\n"+parts[1]+"---\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(parts) != 3 || got != parts[2] {
				t.Errorf("got\n%s\nwant the file's third part", got)
			}
		})
	}
}

func shapes(t *testing.T, text string) (source, target []*table.Table) {
	t.Helper()
	for line := range strings.Lines(text) {
		side, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, columns, _ := strings.Cut(rest, " ")
		s := shape(name, strings.Split(columns, "; ")...)
		switch side {
		case "source":
			source = append(source, s)
		case "source/full":
			source = append(source, full(s))
		case "source/nothing":
			s.Identity = table.IdentityNothing
			source = append(source, s)
		case "target":
			target = append(target, s)
		default:
			t.Fatalf("line %q", line)
		}
	}
	return source, target
}

func findings(t *testing.T, tables string, source, target []*table.Table) string {
	t.Helper()
	m, err := Compile(parse(t, tables), source, target)
	var found migration.Diagnostics
	switch {
	case err == nil:
		found = m.Warnings()
		if len(found) == 0 {
			return "nothing\n"
		}
		return found.Error() + "\nno error\n"
	case !errors.As(err, &found):
		t.Fatalf("got %v; want diagnostics", err)
	}
	return found.Error() + "\n"
}

func TestSelect(t *testing.T) {
	spec := parse(t, `
tables:
  - {from: "public.*", exclude: [public.tmp_*, public.orders], to: "crm.*"}
  - {from: public.orders, to: sales.order}
`)
	name := func(s string) table.Name {
		schema, bare, _ := strings.Cut(s, ".")
		return table.Name{Schema: schema, Table: bare}
	}
	got, err := Select(spec, []table.Name{name("public.orders"), name("x.y"), name("public.b"), name("public.tmp_1"), name("public.a")})
	if err != nil {
		t.Fatal(err)
	}
	want := []Selected{
		{name("public.a"), name("crm.a"), 0}, {name("public.b"), name("crm.b"), 0}, {name("public.orders"), name("sales.order"), 1},
	}
	misspelt := parse(t, "\ntables: [{from: public.*, exclude: [public.oders]}]\n")
	if _, err := Select(misspelt, []table.Name{name("public.orders")}); err == nil || !strings.Contains(err.Error(), "did you mean public.orders?") {
		t.Errorf("an excluded name that does not exist: %v", err)
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
}

// The fingerprint changes with what comes out, and with nothing else.
func TestFingerprint(t *testing.T) {
	source := []*table.Table{shape("public.a", "id integer key", "name text null", "n integer")}
	target := []*table.Table{shape("crm.a", "id integer key", "name text null", "n integer", "x text null")}
	const base = `
tables:
  - from: public.a
    to: crm.a
    where: n > 1
    set: {id: id, name: lower(name), n: n, x: {const: a}}
`
	first := compile(t, base, source, target).Fingerprint()
	if len(first) != 64 || first != compile(t, base, source, target).Fingerprint() {
		t.Fatal("two runs differ")
	}
	same := `
# a comment
kafka: {partitions: 7}
tables:
  - {to: crm.a, from: "public.a", set: {x: {const: "a"}, n: n, name: "lower( name )", id: id}, where: 'n>1'}
`
	if compile(t, same, source, target).Fingerprint() != first {
		t.Error("layout, comments or settings change the fingerprint")
	}
	for _, other := range []string{"n > 2", "n >= 1"} {
		if compile(t, strings.Replace(base, "n > 1", other, 1), source, target).Fingerprint() == first {
			t.Errorf("where %s has the same fingerprint", other)
		}
	}
	for old, by := range map[string]string{"lower": "upper", "const: a": "const: b", "{const: a}": "name", "{const: a}}": "{const: null}}", "where: n > 1": "ignore: []"} {
		if compile(t, strings.Replace(base, old, by, 1), source, target).Fingerprint() == first {
			t.Errorf("%s for %s has the same fingerprint", by, old)
		}
	}
	wider := []*table.Table{shape("crm.a", "id integer key", "name text null", "n bigint", "x text null")}
	if compile(t, base, source, wider).Fingerprint() == first {
		t.Error("another target type has the same fingerprint")
	}
}

func TestColumnsAndPurity(t *testing.T) {
	source := []*table.Table{shape("public.a", "id integer key", "name varchar(20)", "n integer")}
	target := []*table.Table{shape("crm.a", "n integer", "id bigint key", "title varchar(20)", "extra text null")}
	r := compile(t, "\ntables: [{from: public.a, to: crm.a, set: {id: id, title: name, n: n}}]\n", source, target).Rules()[0]
	want := []Column{{0, 2, true}, {1, 0, false}, {2, 1, true}}
	for i, c := range r.Columns() {
		if c != want[i] {
			t.Errorf("column %d: got %v, want %v", i, c, want[i])
		}
	}
	if !r.Pure() || r.Filtered() || r.Index() != 0 || r.Target().Key[0] != 1 || !r.Target().SoleFeeder {
		t.Errorf("target %+v", r.Target())
	}
	for _, entry := range []string{
		"{from: public.a, to: crm.a, where: n > 1, set: {id: id, title: name, n: n}}",
		"{from: public.a, to: crm.a, set: {id: id, title: name, n: n + 1}}",
		"{from: public.a, to: crm.a, set: {id: id, title: name, n: n, extra: {const: x}}}",
	} {
		if compile(t, "\ntables: ["+entry+"]\n", source, target).Rules()[0].Pure() {
			t.Errorf("pure: %s", entry)
		}
	}
}
