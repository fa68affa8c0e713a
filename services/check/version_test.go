package check

import (
	"strings"
	"testing"
)

func TestMinorVersionsThatLoseChanges(t *testing.T) {
	for number, mended := range map[int]string{
		140017: "14.18", 140018: "", 140000: "14.18", 150012: "15.13", 150013: "", 160008: "16.9", 160009: "", 170004: "17.5", 170005: "", 180000: "", 190000: "", 130020: "",
	} {
		r := &report{}
		r.version("source", number, "of this test")
		warnings := 0
		for _, f := range r.found {
			if f.Severity == Warning && strings.Contains(f.Text, "of this test may leave changes out") && strings.Contains(f.Text, "mended in "+mended) && strings.Contains(f.Mend, "install PostgreSQL "+mended) {
				warnings++
			}
		}
		if want := mended != ""; want != (warnings == 1) || (number < oldest) != (Errors(r.found) == 1) {
			t.Errorf("%d: %+v", number, r.found)
		}
		target := &report{}
		if target.version("target", number, "x"); number >= oldest && len(target.found) != 0 {
			t.Errorf("target %d: %+v", number, target.found)
		}
	}
}
