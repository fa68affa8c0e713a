package mapping

import (
	"math"
	"slices"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/table"
	"segue/schemas"
)

func wide() *table.Table {
	return shape("public.wide", "id bigint key", "name text null", "age integer null", "price numeric(10,2) null",
		"rate double_precision null", "active boolean null", "day date null", "in text null", "full_price numeric null generated")
}

func value(t *testing.T, text string, r change.Row) (string, error) {
	t.Helper()
	source := wide()
	x, err := newLanguage(source).compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	ordinals := make([]int, len(x.inputs))
	for i, in := range x.inputs {
		ordinals[i] = source.Column(in.name)
	}
	result, err := new(engine).run(x, r, ordinals)
	if err != nil {
		return "", err
	}
	v, err := textOf(result, false)
	return strings.Trim(show(change.Row{v}), "()"), err
}

func TestExpressions(t *testing.T) {
	ann := row("7", " Ann van der Lee ", "41", "19.90", "0.1", "t", "2020-02-29", "x", "-")
	null := row("7", "∅", "∅", "∅", "∅", "∅", "∅", "∅", "-")
	for _, tt := range []struct{ text, ann, null string }{
		{"lower(name)", " ann van der lee ", "∅"},
		{"name | trim() | upper()", "ANN VAN DER LEE", "∅"},
		{"firstWord(name)", "Ann", "∅"},
		{"lastWord(name)", "Lee", "∅"},
		{"restWords(name)", "van der Lee", "∅"},
		{"words(name) | last()", "Lee", "∅"},
		{"first(words(name))", "Ann", "∅"},
		{`join(filter(words(name), len(#) > 2), "-")`, "Ann-van-der-Lee", "7"}, // see below
		{"squeeze(name)", "Ann van der Lee", "∅"},
		{`name + "!"`, " Ann van der Lee !", "∅"},
		{`(name ?? "nobody") + "!"`, " Ann van der Lee !", "nobody!"},
		{`replace(name, "e", "3")`, " Ann van d3r L33 ", "∅"},
		{`split(day, "-")[0]`, "2020", "!"},
		{"left(trim(name), 3) + right(day, 2)", "Ann29", "∅"},
		{`left("äöü", 2) + right("äöü", 1)`, "äöü", "äöü"},
		{"len(name)", "17", "∅"},
		{`digits(day)`, "20200229", "∅"},
		{`nullIf(day, "2020-02-29")`, "∅", "∅"},
		{`nullIfEmpty(trim(name ?? " "))`, "Ann van der Lee", "∅"},
		{`trim("--x-", "-")`, "x", "x"},
		{`trimPrefix(day, "20") + trimSuffix(day, "29")`, "20-02-292020-02-", "∅"},
		{"age + 1", "42", "∅"},
		{"-age * 2 - 1", "-83", "∅"},
		{"age % 2 == 1", "true", "false"},
		{"age / 2", "20.5", "∅"},
		{"abs(0 - age)", "41", "∅"},
		{"age == nil", "false", "true"},
		{"age != nil and age > 40", "true", "false"},
		{"age > 40", "true", "false"},
		{"not (age > 40)", "false", "true"},
		{"age <= 41 or active", "true", "false"},
		{"active", "true", "∅"},
		{"!active", "false", "true"},
		{"active and true", "true", "false"},
		{`active ? "yes" : "no"`, "yes", "no"},
		{"age in [40, 41]", "true", "false"},
		{"age not in 1..50", "false", "true"},
		{`name contains "van" && day startsWith "2020" && day endsWith "29"`, "true", "false"},
		{`day matches "^\\d{4}-\\d\\d-\\d\\d$"`, "true", "false"},
		{`hasPrefix(day, "2020") or hasSuffix(day, "x")`, "true", "false"},
		{`day < "2020-03-01"`, "true", "false"},
		{"price * 3", "59.70", "∅"},
		{"price * 1.19", "23.6810", "∅"},
		{"1.5 * price", "29.850", "∅"},
		{"price + age", "60.90", "∅"},
		{"price - 20", "-0.10", "∅"},
		{"2 - price", "-17.90", "∅"},
		{"price == 19.9", "true", "false"},
		{"price > 19", "true", "false"},
		{"20 > price and price != age", "true", "false"},
		{"price == nil", "false", "true"},
		{"(price ?? 0) * 100 | int()", "1990", "0"},
		{"div(price, 3, 2)", "6.63", "∅"},
		{"div(age, 2, 0)", "21", "∅"},
		{"div(0 - age, 2, 0)", "-21", "∅"},
		{"round(price, 1)", "19.9", "∅"},
		{"round(price * price, 0)", "396", "∅"},
		{`decimal("12.50") + price`, "32.40", "∅"},
		{"rate * 3", "0.30000000000000004", "∅"},
		{"float(price) + rate", "20", "∅"},
		{"rate > 0.05", "true", "false"},
		{"string(id) + day", "72020-02-29", "∅"},
		{`$env["in"] + "y"`, "xy", "∅"},
		{`let n = trim(name); n ?? "none"`, "Ann van der Lee", "none"},
		{"count(words(name ?? \"\"), len(#) == 3)", "4", "0"},
		{"any(words(name ?? \"\"), # == \"van\")", "true", "false"},
	} {
		if strings.HasPrefix(tt.text, "join(filter") {
			tt.text = strings.Replace(tt.text, "words(name)", `words(name ?? "seven 7")`, 1)
			tt.null = "seven"
		}
		if got, err := value(t, tt.text, ann); got != tt.ann || err != nil {
			t.Errorf("%s: got %q, %v; want %q", tt.text, got, err, tt.ann)
		}
		got, err := value(t, tt.text, null)
		if tt.null == "!" {
			if err == nil {
				t.Errorf("%s of null: got %q; want an error", tt.text, got)
			}
		} else if got != tt.null || err != nil {
			t.Errorf("%s of null: got %q, %v; want %q", tt.text, got, err, tt.null)
		}
	}
}

// P10: what goes wrong at run time is told without the value.
func TestExpressionFaults(t *testing.T) {
	r := row("9223372036854775807", "hunter2", "0", "NaN", "1e300", "t", "2020-02-29", "x", "-")
	for text, want := range map[string]string{
		"id + 1":              "fit",
		"id * 2":              "fit",
		"-1 - id - 2":         "fit",
		"id / age":            "zero",
		"id % age":            "zero",
		"div(id, age, 1)":     "zero",
		"price + 1":           "NaN or infinity",
		"int(name)":           "no number",
		"float(name)":         "no number",
		"decimal(name)":       "no number",
		"int(rate)":           "fit",
		"words(name)[3]":      "character",
		"round(rate, 0 - 1)":  "type",
		`join([name, 1], "")`: "type",
	} {
		got, err := value(t, text, r)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %q, %v; want an error with %q and without the value", text, got, err, want)
		}
	}
}

func TestExpressionsThatAreRefused(t *testing.T) {
	l := newLanguage(wide())
	for text, want := range map[string]string{
		"now()":                        "now",
		"date(day)":                    "date",
		"nxme":                         "unknown name nxme",
		"full_price":                   "unknown name full_price",
		"age + name":                   "mismatched types",
		"name > 1":                     "mismatched types",
		"price / 2":                    "/",
		"lower(age)":                   "lower",
		"lower()":                      "not enough arguments",
		"age +":                        "unexpected",
		"toJSON(name)":                 "toJSON",
		"day matches name":             "fixed text",
		"day matches \"(\"":            "missing closing",
		"let name = 1; name":           "name",
		"len($env)":                    "$env",
		"$env[name]":                   "fixed name",
		"name[1:2]":                    "left(text, n)",
		"age ** 2":                     "powers",
		"groupBy(words(name), len(#))": "groupBy",
		`"operator +"(1, 2)`:           "unexpected",
	} {
		if _, err := l.compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want an error with %q", text, err, want)
		}
	}
}

func TestFloatTextIsPostgreSQLs(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 1: "1", -2.5: "-2.5", 1e14: "100000000000000", 1e15: "1e+15", 1e-4: "0.0001", 1e-5: "1e-05",
		1.2345678901234568e+17: "1.2345678901234568e+17", math.Inf(1): "Infinity", math.Inf(-1): "-Infinity", 1e300: "1e+300",
	} {
		if got := floatText(f); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if floatText(math.NaN()) != "NaN" || floatText(math.Copysign(0, -1)) != "-0" {
		t.Error("NaN or -0 came out wrong")
	}
}

// Whatever the text is, it compiles or is refused, and what compiles gives a value or a fault without row data.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{"lower(name)", "age + 1 > price", "filter(words(name), # != nil)", `$env["in"]`, "let x = 1; x ?? name", "{a: 1}.a", "name?.x", "-active", "1..1000000000", "(name)(1)"} {
		f.Add(text)
	}
	r := row("7", "hunter2", "41", "19.90", "0.1", "t", "2020-02-29", "∅", "-")
	f.Fuzz(func(t *testing.T, text string) {
		source := wide()
		x, err := newLanguage(source).compile(text)
		if err != nil {
			return
		}
		ordinals := make([]int, len(x.inputs))
		for i, in := range x.inputs {
			ordinals[i] = source.Column(in.name)
		}
		if _, err := new(engine).run(x, r, ordinals); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a value is shown: %v", text, err)
		}
	})
}

// The published schema names every function that there is.
func TestSchemaNamesTheFunctions(t *testing.T) {
	_, list, _ := strings.Cut(schemas.Migration, "Functions: ")
	list, _, _ = strings.Cut(list, ".")
	published := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(", ;:", r) })
	for _, f := range functions() {
		if !slices.Contains(published, f.name) {
			t.Errorf("the schema does not name %s", f.name)
		}
	}
	for _, name := range predicates() {
		if !slices.Contains(published, name) {
			t.Errorf("the schema does not name %s", name)
		}
	}
	if want := len(functions()) + len(predicates()) + len([]string{"with", "a", "predicate"}); len(published) != want {
		t.Errorf("the schema names %d words, want %d: %v", len(published), want, published)
	}
}
