package main

import (
	"fmt"
	"strings"
	"testing"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

// TestPipelineWidestTable moves a table of 1 600 columns, PostgreSQL's limit, through the whole product: loaded, inserted, updated in one
// column and in all, its key changed, deleted. (Rows of a heap must fit a page: so the columns are small or out of line.)
func TestPipelineWidestTable(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for _, seed := range []uint64{3000, 3001} { // fused and staged
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newStory(t, servers.Addresses(), seed)
			const width = 1600
			var columns, zeros, ones, sets []string
			for i := range width - 1 {
				columns = append(columns, fmt.Sprintf("c%d integer", i))
				zeros, ones = append(zeros, "NULL"), append(ones, fmt.Sprint(i%2))
				if i%2 == 0 {
					ones[i] = "NULL" // a page holds no more
				}
				sets = append(sets, fmt.Sprintf("c%d = CASE WHEN c%d IS NULL THEN %d END", i, i, i))
			}
			ddl := "CREATE TABLE public.wide (id integer PRIMARY KEY, " + strings.Join(columns, ", ") + ")"
			row := func(id int, values []string) string {
				return fmt.Sprintf("INSERT INTO public.wide VALUES (%d, %s)", id, strings.Join(values, ", "))
			}
			pgtest.Exec(t, s.source, ddl, row(1, zeros), row(2, ones), row(3, ones))
			pgtest.Exec(t, s.target, ddl)
			s.start()
			s.await("the load", "SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)")
			pgtest.Exec(t, s.source, row(4, ones), row(5, zeros), "UPDATE public.wide SET c1598 = 7, c0 = -1 WHERE id IN (1, 4)",
				"UPDATE public.wide SET "+strings.Join(sets, ", ")+" WHERE id = 2", "UPDATE public.wide SET id = -id WHERE id = 3", "DELETE FROM public.wide WHERE id = 5")
			s.settle()
			var rows [2]string
			const all = "SELECT string_agg(w::text, '|' ORDER BY id) FROM public.wide w"
			if err := s.source.QueryRow(t.Context(), all).Scan(&rows[0]); err != nil {
				t.Fatal(err)
			}
			if err := s.target.QueryRow(t.Context(), all).Scan(&rows[1]); err != nil {
				t.Fatal(err)
			}
			if rows[0] != rows[1] {
				s.fail("the stores differ: %d and %d bytes", len(rows[0]), len(rows[1]))
			}
			if code := s.process().run(t.Context(), []string{"reconcile", "--wait", "--timeout", "1m"}); code != exitFine {
				s.fail("reconcile ended with %d", code)
			}
			s.stop()
		})
	}
}
