package main

import (
	"fmt"
	"strings"
	"testing"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

// TestPipelineUntranslatable gives the pipeline texts that the other side does not have: it stops, says which table and where, and shows no
// value; it goes on once they are mended.
func TestPipelineUntranslatable(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for i, c := range []struct {
		name, from, to string
		value          string // as an expression that gives a text on the source
		load, stream   []string
	}{
		{
			"the target lacks a character", "UTF8", "LATIN1", `'secret €'`,
			[]string{"apply public.things (from public.things) at", "SQLSTATE 22P05"}, []string{"apply public.things (from public.things) at", "SQLSTATE 22P05"},
		},
		{
			"the source holds bytes of no encoding", "SQL_ASCII", "UTF8", `convert_from('\x736563726574e4', 'SQL_ASCII')`,
			[]string{"apply public.things (from public.things) at", "SQLSTATE 22021"}, []string{"apply public.things (from public.things) at", "SQLSTATE 22021"},
		},
		{
			"a byte without a character", "WIN1252", "UTF8", `convert_from('\x73656372657481', 'WIN1252')`,
			[]string{"things", "SQLSTATE 22P05"}, []string{"SQLSTATE 22P05"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for k, want := range [][]string{c.load, c.stream} {
				s := encodingStory(t, servers.Addresses(), fmt.Sprintf("untranslatable%d%d", i, k), options(c.from), options(c.to))
				const ddl = `CREATE TABLE things (id int PRIMARY KEY, v text); CREATE TABLE marker (id int PRIMARY KEY)`
				pgtest.Exec(t, s.source, ddl)
				pgtest.Exec(t, s.target, ddl)
				if k == 1 {
					s.start()
					s.marker(1)
				}
				pgtest.Exec(t, s.source, `INSERT INTO things VALUES (1, `+c.value+`)`)
				if k == 0 {
					s.start()
				}
				code := <-s.ended
				s.cancel()
				s.cancel = nil
				t.Logf("%s %d: %d\n%s", c.name, k, code, s.log.String())
				for _, text := range want {
					if !strings.Contains(s.log.String(), text) {
						t.Errorf("the log does not say %q", text)
					}
				}
			}
		})
	}
}
