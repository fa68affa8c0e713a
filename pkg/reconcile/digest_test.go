package reconcile

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/change"
)

func TestCanonicalTextIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) change.Value {
			if rapid.IntRange(0, 3).Draw(t, "null") == 0 {
				return change.Null()
			}
			return change.String(rapid.StringOf(rapid.RuneFrom([]rune("a0:;Nä\n"))).Draw(t, "text"))
		}), 0, 6).Draw(t, "row")
		got, err := ParseCanonical(string(AppendCanonical(nil, row)))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(row) {
			t.Fatalf("%d values, want %d", len(got), len(row))
		}
		for i := range row {
			if !row[i].Equal(got[i]) {
				t.Fatalf("value %d differs", i)
			}
		}
	})
}

func TestCanonicalText(t *testing.T) {
	row := change.Row{change.Null(), change.String(""), change.String("é;")}
	if got, want := string(AppendCanonical(nil, row)), ":;0:;3:é;;"; got != want {
		t.Errorf("canonical text %q, want %q", got, want)
	}
	for _, broken := range []string{"3:ab;", "x:a;", "9", "-1:;"} {
		if row, err := ParseCanonical(broken); err == nil {
			t.Errorf("%q was read as %d values", broken, len(row))
		}
	}
}

func FuzzParseCanonical(f *testing.F) {
	f.Add(":;1:a;")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = ParseCanonical(text) })
}

func TestSumsAreOrderFreeAndCountRows(t *testing.T) {
	var forth, back, part Sum
	for i := range 100 {
		forth.Add(HashText(fmt.Append(nil, i)))
		back.Add(HashText(fmt.Append(nil, 99-i)))
	}
	for i := range 50 {
		part.Add(HashText(fmt.Append(nil, i)))
	}
	rest := Sum{}
	for i := 50; i < 100; i++ {
		rest.Add(HashText(fmt.Append(nil, i)))
	}
	part.Merge(rest)
	if forth != back || forth != part || forth.Rows != 100 {
		t.Errorf("sums %v, %v, %v", forth, back, part)
	}
}

func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		rows int64
		want int
	}{{-1, 16}, {0, 16}, {1024, 16}, {1025, 32}, {200_000, 4096}, {1 << 40, 1 << 16}} {
		if got := Buckets(c.rows); got != c.want {
			t.Errorf("%d rows: %d buckets, want %d", c.rows, got, c.want)
		}
	}
}
