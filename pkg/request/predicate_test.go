package request_test

import (
	"slices"
	"testing"

	"segue/pkg/request"
)

func TestPredicatesThatReadNothingElse(t *testing.T) {
	for text, functions := range map[string][]string{
		`status = 'open'`:                                      nil,
		`"Weird ""Name""" <> 'it''s; -- select'`:               nil,
		`id IN (1, 2, 3) AND (total > 1.5e3 OR note IS NULL)`:  nil,
		`lower(name) LIKE 'a%' AND NOT (length(name) > 3)`:     {"lower", "length"},
		`created > now() - interval '1 day'`:                   {"now"},
		`"pg_sleep"(1) IS NULL`:                                {"pg_sleep"},
		`pg_catalog.pg_sleep(1) IS NULL`:                       {"pg_sleep"},
		`tags && ARRAY['a'] AND doc->>'k' = 'v' AND n % 7 = 3`: nil,
		`note IS DISTINCT FROM 'x'`:                            nil,
		`amount::numeric(12,2) > 5`:                            {"numeric"},
		`extracted BETWEEN date '2026-01-01' AND '2026-02-01'`: nil,
	} {
		got, err := request.CheckPredicate(text)
		if err != nil || !slices.Equal(got, functions) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestPredicatesThatReachOut(t *testing.T) {
	for _, text := range []string{
		``, `   `, `true; DROP TABLE t`, `true) TO STDOUT; --`, `true) OR (true`, `(true`, `id = (SELECT max(id) FROM o)`, `EXISTS (TABLE o)`,
		`id IN (VALUES (1))`, `true -- comment`, `true /* x */`, `name = 'open`, `"open = 1`, `name = E'\' OR true --'`, `name = 'a\'`,
		`name = $$x$$`, `name = $1`, `U&"d\0061t" = 1`, `true UNION ALL SELECT 1`, `id = 1 FOR UPDATE`, `true OFFSET 1`, `a OPERATOR(public.!) b`, `row_number() OVER () > 1`,
		"id = 1\x00", `B'1' = x`, `id = (select/**/1)`,
	} {
		if _, err := request.CheckPredicate(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
