package reconciler

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"segue/pkg/pgtest"
	"segue/pkg/reconcile"
)

const lotsDDL = `CREATE TABLE lots (a int, n numeric, j json, p point, x xml)`

var lotsSource = []string{
	lotsDDL, `ALTER TABLE lots REPLICA IDENTITY FULL`,
	`INSERT INTO lots SELECT g % 1500, 1.0, '{"a":  1}', '(1,2)', NULL FROM generate_series(1, 3000) g`,
	`INSERT INTO lots SELECT g % 1500 FROM generate_series(1, 500) g`,
}

func lotsTarget(ddl, insert string) []string {
	return []string{ddl, fmt.Sprintf(insert, `SELECT g % 1500, 1.0, '{"a":  1}', '(1,2)', NULL FROM generate_series(1, 3000) g`), fmt.Sprintf(insert, `SELECT g % 1500, NULL, NULL, NULL, NULL FROM generate_series(1, 500) g`)}
}

// Equal rows are counted: one too few and one too many of the same are found, whichever they are.
func TestP7_TablesWithoutAKeyAreComparedByLots(t *testing.T) {
	for name, to := range map[string][]string{
		"by both servers": lotsTarget(lotsDDL, `INSERT INTO lots %s`),
		"row by row":      lotsTarget(strings.Replace(lotsDDL, "n numeric", "n numeric(8,2)", 1), `INSERT INTO lots %s`),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "  - from: public.*\n", lotsSource, to)
			report := r.compare(Config{ChunkBytes: 64 << 10})
			if lots := only(t, report, "public.lots"); report.Verdict != reconcile.Pass || lots.Rows != 3500 || lots.Coverage != 100 {
				t.Fatalf("%+v", report)
			}
			pgtest.Exec(t, r.target, `DELETE FROM lots WHERE ctid IN (SELECT ctid FROM lots WHERE a = 7 AND n IS NOT NULL LIMIT 2)`,
				`INSERT INTO lots SELECT * FROM lots WHERE a = 8 AND n IS NULL LIMIT 1`,
				`UPDATE lots SET j = '{"a": 1}' WHERE ctid = (SELECT ctid FROM lots WHERE a = 9 AND n IS NOT NULL LIMIT 1)`)
			report = r.compare(Config{})
			lots := only(t, report, "public.lots")
			if report.Verdict != reconcile.Differ || lots.Missing != 3 || lots.Extra != 2 || lots.Doubled+lots.Different != 0 || lots.Coverage != 100 || len(lots.Examples) != 4 {
				t.Fatalf("%+v", report)
			}
			for _, e := range lots.Examples {
				if !strings.HasPrefix(e.String(), "md5=") || len(e.String()) != len("md5=")+32 {
					t.Errorf("example %s", e)
				}
			}
		})
	}
}

func lotsTraffic(random *rand.Rand) string {
	a := random.Intn(1600)
	one := fmt.Sprintf(`WHERE ctid = (SELECT ctid FROM lots WHERE a = %d LIMIT 1 FOR UPDATE SKIP LOCKED)`, a)
	switch random.Intn(5) {
	case 0:
		return fmt.Sprintf(`INSERT INTO lots VALUES (%d, 1.00)`, a)
	case 1:
		return `DELETE FROM lots ` + one
	case 2:
		return `UPDATE lots SET a = a ` + one // the same row, elsewhere in the heap
	}
	return fmt.Sprintf(`UPDATE lots SET a = %d `, random.Intn(1600)) + one
}

// Under traffic nothing that is equal is called different, and what differs is found; at rest it is proved.
func TestP7_TablesWithoutAKeyUnderTraffic(t *testing.T) {
	r := newRig(t, "  - from: public.*\n", lotsSource, lotsTarget(lotsDDL, `INSERT INTO lots %s`))
	stop := r.traffic(3, lotsTraffic)
	for range 4 {
		if lots := only(t, r.compare(Config{}), "public.lots"); lots.Verdict != reconcile.Pass {
			t.Fatalf("%+v", lots)
		}
	}
	pgtest.Exec(t, r.target, `INSERT INTO lots SELECT 9999`)
	lots := only(t, r.compare(Config{}), "public.lots")
	if lots.Verdict != reconcile.Differ || lots.Extra != 1 || lots.Missing != 0 {
		t.Fatalf("%+v", lots)
	}
	pgtest.Exec(t, r.target, `DELETE FROM lots WHERE a = 9999`)
	if n := stop(); n < 50 {
		t.Errorf("only %d statements of traffic", n)
	}
	if report := r.compare(Config{}); report.Verdict != reconcile.Pass {
		t.Fatalf("at rest: %+v", report)
	}
}
