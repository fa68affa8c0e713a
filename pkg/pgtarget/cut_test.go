package pgtarget

import (
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/pkg/table"
)

func TestWhatACastWouldCut(t *testing.T) {
	types := []string{`"char"`, `"char"[]`, "name", "name[]", "text"}
	ct := &change.Target{Table: &table.Table{}}
	for i, base := range types {
		ct.Table.Columns = append(ct.Table.Columns, table.Column{Base: base})
		ct.Columns = append(ct.Columns, i)
	}
	long := strings.Repeat("é", 32) // 64 bytes, in LATIN1 32
	for _, c := range []struct {
		version        int
		encoding, base string
		text           string
		fits           bool
	}{
		{14, "UTF8", `"char"`, "", true}, {14, "UTF8", `"char"`, "a", true}, {14, "UTF8", `"char"`, `\`, true},
		{14, "UTF8", `"char"`, `\351`, false}, {15, "UTF8", `"char"`, `\351`, true}, {18, "UTF8", `"char"`, `\400`, false}, {18, "UTF8", `"char"`, `\35`, false},
		{14, "UTF8", `"char"`, "é", false}, {18, "LATIN1", `"char"`, "é", false}, {18, "UTF8", `"char"`, "\xe9", false}, {18, "UTF8", `"char"`, "ab", false},
		{14, "UTF8", `"char"[]`, `{a,NULL,"\\",",","\""}`, true}, {14, "UTF8", `"char"[]`, `{a,"\\351"}`, false}, {15, "UTF8", `"char"[]`, `[0:1][2:2]={{a},{"\\351"}}`, true},
		{14, "UTF8", `"char"[]`, `{a,é}`, false}, {14, "UTF8", `"char"[]`, `{}`, true}, {14, "UTF8", `"char"[]`, `{{a,b},{c,de}}`, false},
		{15, "UTF8", "name", long, false}, {15, "UTF8", "name", long[:62], true}, {15, "LATIN1", "name", long, true}, {15, "LATIN1", "name", long + long, false},
		{15, "EUC_JP", "name", long, false}, {15, "EUC_JP", "name", strings.Repeat("x", 63), true}, {15, "SQL_ASCII", "name", long, false},
		{15, "UTF8", "name[]", "{x," + long[:62] + "}", true}, {15, "UTF8", "name[]", "{" + long + "}", false},
	} {
		for i, base := range types {
			if base == c.base {
				if got := uncutBy(ct, c.version, c.encoding)[i]([]byte(c.text)); got != c.fits {
					t.Errorf("%s %q on %d in %s: fits %v", c.base, c.text, c.version, c.encoding, got)
				}
			}
		}
	}
	if uncutBy(ct, 15, "UTF8")[4] != nil {
		t.Error("text is never cut")
	}
}

// The server's casts cut as isChar and isName say: in silence.
func TestCastsCutInSilence(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	for _, c := range []struct{ sql, base, text string }{
		{`$1::text::"char"::text = $1`, `"char"`, `\351`},
		{`$1::text::"char"::text = $1`, `"char"`, "ab"},
		{`$1::text::name::text = $1`, "name", strings.Repeat("é", 32)},
		{`$1::text::name::text = $1`, "name", strings.Repeat("x", 63)},
	} {
		var same bool
		if err := conn.QueryRow(t.Context(), "SELECT "+c.sql, c.text).Scan(&same); err != nil {
			t.Fatal(err)
		}
		ct := &change.Target{Table: &table.Table{Columns: []table.Column{{Base: c.base}}}, Columns: []int{0}}
		if fits := uncut(ct, conn.PgConn())[0]([]byte(c.text)); fits != same {
			t.Errorf("%s %q: fits %v, the server keeps it whole: %v", c.base, c.text, fits, same)
		}
	}
}
