package main

import (
	"fmt"
	"strings"
	"testing"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

// TestPipelineUntranslatable gives the pipeline texts that the other side does not have. Where the source cannot send them it stops, says which table and
// where, shows no value, and goes on once they are mended; what the target cannot hold is parked.
func TestPipelineUntranslatable(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for i, c := range []struct {
		name, from, to string
		value          string // as an expression that gives a text on the source
		atSource       bool   // it is the source that cannot send it
	}{
		{"a character that the target lacks", "UTF8", "LATIN1", `'secret €'`, false},
		{"bytes that are no UTF-8", "SQL_ASCII", "UTF8", `convert_from('\x736563726574e4', 'SQL_ASCII')`, true},
		{"a byte without a character", "WIN1252", "UTF8", `convert_from('\x73656372657481', 'WIN1252')`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := encodingStory(t, servers.Addresses(), fmt.Sprintf("untranslatable%d", i), options(c.from), options(c.to))
			const ddl = `CREATE TABLE things (id int PRIMARY KEY, v text); CREATE TABLE marker (id int PRIMARY KEY)`
			pgtest.Exec(t, s.source, ddl, `INSERT INTO things VALUES (1, 'ä'), (2, `+c.value+`)`)
			pgtest.Exec(t, s.target, ddl)
			s.start()
			var seen int
			if c.atSource {
				seen = s.stops(seen, "chunk of public.things", "has no form in UTF-8")
				pgtest.Exec(t, s.source, `UPDATE things SET v = 'mended' WHERE id = 2`)
			} else {
				s.await("the row is parked", `SELECT EXISTS (SELECT FROM segue.parked WHERE code = '22P05' AND key_values = '{2}')`)
				s.want(`SELECT reason LIKE 'the target''s encoding lacks a character of the row%' FROM segue.parked`, "true")
				pgtest.Exec(t, s.source, `UPDATE things SET v = 'mended' WHERE id = 2`)
				s.marker(1)
				s.want(`SELECT string_agg(v, ' ' ORDER BY id) || (SELECT count(*) FROM segue.parked) FROM things`, "ä mended0")
				if strings.Contains(s.log.String(), "secret") {
					s.fail("the log shows a row's value")
				}
				return
			}
			s.start()
			s.marker(1)
			s.want(`SELECT string_agg(v, ' ' ORDER BY id) FROM things`, "ä mended")
			pgtest.Exec(t, s.source, `INSERT INTO things VALUES (3, `+c.value+`)`)
			seen = s.stops(seen, "the change at ", " of the source's log holds a text that has no form in UTF-8", "stopped before it")
			if log := s.log.String(); strings.Contains(log, "an unknown place") {
				s.fail("no place is named")
			}
			pgtest.Exec(t, s.source, `UPDATE things SET v = 'mended, too' WHERE id = 3`)
			s.start()
			s.stops(seen, "the change at ") // the log still has it
			if code := s.process().run(t.Context(), []string{"source", "finish"}); code != exitFine {
				s.fail("source finish ended with exit code %d", code)
			}
			s.start("--new-history")
			s.marker(2)
			s.want(`SELECT string_agg(v, ' ' ORDER BY id) FROM things`, "ä mended mended, too")
		})
	}
}

// stops waits until segue has ended by itself with an error that says these, and shows no value of a row.
func (s *story) stops(before int, wants ...string) (seen int) {
	s.t.Helper()
	if code := <-s.ended; code != exitError {
		s.fail("it ended with exit code %d", code)
	}
	s.cancel()
	s.cancel = nil
	log := s.log.String()
	for _, text := range wants {
		if !strings.Contains(log[before:], text) {
			s.fail("the log does not say %q", text)
		}
	}
	if strings.Contains(log, "secret") {
		s.fail("the log shows a row's value")
	}
	return len(log)
}
