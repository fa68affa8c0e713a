package postgres

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"segue/pkg/fault"
)

// ruling is a line of the table in docs/operations/errors.md: one code, or a class with all codes that have no line of their own.
type ruling struct{ code, does string }

// rulings reads the table: the codes of a line stand in its first cell, what segue does in its third.
func rulings(t *testing.T) []ruling {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile("`([0-9A-Z]{5}|[0-9A-Z]{2})`")
	var out []ruling
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !codes.MatchString(cells[1]) {
			continue
		}
		for _, m := range codes.FindAllStringSubmatch(cells[1], -1) {
			out = append(out, ruling{m[1], strings.TrimSpace(cells[3])})
		}
	}
	return out
}

// words are the classes as the table says them.
func words() map[string]fault.Class {
	return map[string]fault.Class{
		"waits": fault.ClassTransient, "sets the row aside": fault.ClassPoison, "stops": fault.ClassFatal,
		"stops; waits where it was let in before": fault.ClassFatal, "no error": fault.ClassFatal,
	}
}

// conditions are PostgreSQL's codes.
func conditions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/errcodes.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if code, _, ok := strings.Cut(line, " "); ok && len(code) == 5 {
			out = append(out, code)
		}
	}
	if len(out) < 250 {
		t.Fatalf("only %d codes", len(out))
	}
	return out
}

// TestTheTableOfErrorsIsTheCodes holds docs/operations/errors.md and classOfCode together, for every code that PostgreSQL has.
func TestTheTableOfErrorsIsTheCodes(t *testing.T) {
	says := map[string]string{}
	for _, r := range rulings(t) {
		if _, twice := says[r.code]; twice {
			t.Errorf("%s has two lines", r.code)
		}
		if _, ok := words()[r.does]; !ok {
			t.Errorf("%s: %q is no word for what segue does", r.code, r.does)
		}
		says[r.code] = r.does
	}
	known := conditions(t)
	for _, code := range known {
		does, ok := says[code]
		if !ok {
			does, ok = says[code[:2]]
		}
		if !ok {
			t.Errorf("neither %s nor its class is in the table", code)
			continue
		}
		if want := words()[does]; classOfCode(code) != want {
			t.Errorf("%s: the table says %q, the code %s", code, does, classOfCode(code))
		}
	}
	for code := range says {
		if len(code) == 5 && !slices.Contains(known, code) {
			t.Errorf("%s is none of PostgreSQL's", code)
		}
	}
}

// TestConditionsHaveTheirNames holds the words for codes against PostgreSQL's own.
func TestConditionsHaveTheirNames(t *testing.T) {
	text, err := os.ReadFile("testdata/errcodes.txt")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for line := range strings.Lines(string(text)) {
		code, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if got := conditionName(code); got != "" {
			named++
			if got != name {
				t.Errorf("%s is called %s, PostgreSQL says %s", code, got, name)
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d codes have a name", named)
	}
}

// TestTheCasesNameTheirTests sees that each test that the document names is there.
func TestTheCasesNameTheirTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, dir := range []string{"../pgtarget", "../../services/applier", "../../services/segue"} {
		files, err := filepath.Glob(dir + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
	}
	names := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllStringSubmatch(string(text), -1)
	if len(names) < 15 {
		t.Errorf("only %d tests are named", len(names))
	}
	for _, m := range names {
		if !strings.Contains(code.String(), "func "+m[1]+"(t *testing.T)") {
			t.Errorf("there is no %s", m[1])
		}
	}
}
