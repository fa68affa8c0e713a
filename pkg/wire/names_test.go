package wire

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/table"
)

func TestAvroNames(t *testing.T) {
	for name, want := range map[string]string{
		"id": "id", "Full Name": "Full_x20Name", "1st": "_x31st", "_x20": "_x5fx20", "a_b": "a_b", "_": "_",
		"__x": "__x5fx", "größe": "gr_xc3_xb6_xc3_x9fe", "": "_x", "_x": "_x5fx",
	} {
		if got := avroName(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	if got := namespace("shop-1", table.Name{Schema: "public", Table: "order lines"}); got != "shop_x2d1.public.order_x20lines" {
		t.Error(got)
	}
}

// Two names never become one, and each is a name that Avro takes.
func TestAvroNamesAreApart(t *testing.T) {
	allowed := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	names := rapid.OneOf(rapid.String(), rapid.StringMatching(`[_x0-9a-f]{0,8}`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := names.Draw(t, "a"), names.Draw(t, "b")
		if !allowed.MatchString(avroName(a)) {
			t.Fatalf("%q becomes %q", a, avroName(a))
		}
		if a != b && avroName(a) == avroName(b) {
			t.Fatalf("%q and %q both become %q", a, b, avroName(a))
		}
	})
}
