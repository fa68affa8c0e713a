package reconciler

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"segue/pkg/pgtest"
	"segue/pkg/reconcile"
)

const customersDDL = `CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, email varchar(80), balance numeric(12,2), seen timestamptz)`

func fill(rows int) string {
	return fmt.Sprintf(`INSERT INTO customers SELECT g, 'name ' || g, 'u' || g || '@example.com', g / 7.0, '2024-01-01Z'::timestamptz + g * interval '1 second' FROM generate_series(1, %d) g`, rows)
}

func only(t *testing.T, r Report, name string) TableReport {
	t.Helper()
	for _, table := range r.Tables {
		if table.Table == name {
			return table
		}
	}
	t.Fatalf("no table %s in %+v", name, r)
	return TableReport{}
}

func TestP7_EqualTablesPassAtAPosition(t *testing.T) {
	r := newRig(t, "  - from: public.*\n",
		[]string{customersDDL, fill(5000), `CREATE TABLE nothing (id integer PRIMARY KEY)`},
		[]string{customersDDL, fill(5000), `CREATE TABLE nothing (id integer PRIMARY KEY)`})
	report := r.compare(Config{ChunkBytes: 64 << 10})
	customers := only(t, report, "public.customers")
	if report.Verdict != reconcile.Pass || customers.Rows != 5000 || customers.Coverage != 100 || customers.From == "" {
		t.Fatalf("%+v", report)
	}
	if nothing := only(t, report, "public.nothing"); nothing.Verdict != reconcile.Pass || nothing.Rows != 0 || nothing.Coverage != 100 {
		t.Fatalf("%+v", nothing)
	}
}

func TestP7_WhatWasChangedByHandIsNamed(t *testing.T) {
	r := newRig(t, "  - from: public.*\n", []string{customersDDL, fill(5000)}, []string{customersDDL, fill(5000)})
	pgtest.Exec(t, r.target, `UPDATE customers SET name = 'x' WHERE id = 77`, `DELETE FROM customers WHERE id = 78`,
		`INSERT INTO customers SELECT 9001, 'extra'`, `UPDATE customers SET email = NULL WHERE id = 79`)
	report := r.compare(Config{})
	customers := only(t, report, "public.customers")
	if report.Verdict != reconcile.Differ || customers.Missing != 1 || customers.Extra != 1 || customers.Different != 2 || customers.Coverage != 100 {
		t.Fatalf("%+v", report)
	}
	found := map[string]reconcile.Kind{}
	for _, e := range customers.Examples {
		found[e.String()] = e.Kind
	}
	if found["id=77"] != reconcile.Different || found["id=79"] != reconcile.Different || found["id=78"] != reconcile.Missing || found["id=9001"] != reconcile.Extra {
		t.Fatalf("examples %v", found)
	}
	var text strings.Builder
	if err := report.Write(&text); err != nil || !strings.Contains(text.String(), "public.customers: different: id=77") {
		t.Fatalf("%v:\n%s", err, text.String())
	}
	pgtest.Exec(t, r.target, `UPDATE customers SET name = 'name 77' WHERE id = 77`, fmt.Sprintf(`%s ON CONFLICT DO NOTHING`, fill(78)),
		`DELETE FROM customers WHERE id > 5000`, `UPDATE customers SET email = 'u79@example.com' WHERE id = 79`)
	if report := r.compare(Config{}); report.Verdict != reconcile.Pass {
		t.Fatalf("after the repair by hand: %+v", report)
	}
}

// customerTraffic keeps some keys hot, moves keys, and never touches the ids from 4001 to 4999.
func customerTraffic(random *rand.Rand) string {
	id := 1 + random.Intn(4000)
	if random.Intn(2) == 0 {
		id = 1 + random.Intn(20)
	}
	switch random.Intn(8) {
	case 0:
		return fmt.Sprintf(`DELETE FROM customers WHERE id = %d`, id)
	case 1, 2:
		return fmt.Sprintf(`INSERT INTO customers VALUES (%d, 'new', NULL, %d, now()) ON CONFLICT DO NOTHING`, id, random.Intn(1000))
	case 3:
		return fmt.Sprintf(`UPDATE customers SET id = %d WHERE id = %d`, 5001+random.Intn(1000), id)
	case 4:
		return fmt.Sprintf(`UPDATE customers SET id = %d WHERE id = %d`, id, 5001+random.Intn(1000))
	}
	return fmt.Sprintf(`UPDATE customers SET balance = %d, seen = now() WHERE id = %d`, random.Intn(1000), id)
}

func TestP7_TrafficDoesNotDisturbTheProof(t *testing.T) {
	r := newRig(t, "  - from: public.*\n", []string{customersDDL, fill(5000)}, []string{customersDDL, fill(5000)})
	stop := r.traffic(3, customerTraffic)
	ways := []Config{{ChunkBytes: 64 << 10}, {ChunkBytes: 64 << 10}, {SegmentRows: 700}, {SegmentRows: 2000}}
	for _, cfg := range ways {
		if report := r.compare(cfg); report.Verdict != reconcile.Pass || len(report.Tables) != 1 {
			t.Errorf("under traffic: %+v", report)
		}
	}
	pgtest.Exec(t, r.target, `UPDATE customers SET name = 'x' WHERE id = 4444`, `DELETE FROM customers WHERE id = 4445`)
	for _, cfg := range ways[1:] {
		report := r.compare(cfg)
		customers := only(t, report, "public.customers")
		if report.Verdict != reconcile.Differ || customers.Different != 1 || customers.Missing != 1 || customers.Extra != 0 || len(customers.Examples) != 2 || customers.Coverage != 100 {
			t.Errorf("drift under traffic: %+v", report)
		}
	}
	if n := stop(); n < 100 {
		t.Errorf("only %d statements of traffic", n)
	}
}

func TestP7_TypesAndMappedRows(t *testing.T) {
	source := `CREATE TABLE people (id integer PRIMARY KEY, full_name text, amount text, born timestamp, flag boolean, kind varchar(10), code text, gone boolean NOT NULL)`
	target := `CREATE TABLE person (person_id numeric(12,2) PRIMARY KEY, name varchar(40), amount numeric(10,2), born timestamptz(0), flag boolean, kind text, code char(6), origin text)`
	tables := `
  - from: public.people
    to: public.person
    where: "!gone"
    set: {person_id: id, name: 'full_name + "!"', origin: '"legacy"', amount: amount, born: born, flag: flag, kind: kind, code: code}
`
	insert := `INSERT INTO people SELECT g, 'n' || g, (g / 3.0)::numeric(12,5)::text, '2024-02-01'::timestamp + g * interval '1.7 second', mod(g, 2) = 0, 'k', 'c' || mod(g, 50), mod(g, 10) = 0 FROM generate_series(%d, %d) g`
	r := newRig(t, tables, []string{source}, []string{target})
	pgtest.Exec(t, r.source, fmt.Sprintf(insert, 1, 3000))
	report := r.compare(Config{})
	if person := only(t, report, "public.person"); report.Verdict != reconcile.Pass || person.Rows != 2700 {
		t.Fatalf("%+v", report)
	}
	stop := r.traffic(2, func(random *rand.Rand) string {
		id := 1 + random.Intn(200)
		switch random.Intn(4) {
		case 0:
			return fmt.Sprintf(`UPDATE people SET gone = NOT gone WHERE id = %d`, id)
		case 1:
			return fmt.Sprintf(`DELETE FROM people WHERE id = %d`, id)
		case 2:
			return fmt.Sprintf(insert+` ON CONFLICT DO NOTHING`, id, id+2)
		}
		return fmt.Sprintf(`UPDATE people SET amount = '%d.005' WHERE id = %d`, random.Intn(100), id)
	})
	if report := r.compare(Config{}); report.Verdict != reconcile.Pass {
		t.Errorf("under traffic: %+v", report)
	}
	pgtest.Exec(t, r.target, `UPDATE person SET amount = amount + 0.01 WHERE person_id = 2501`)
	report = r.compare(Config{})
	person := only(t, report, "public.person")
	if report.Verdict != reconcile.Differ || person.Different != 1 || len(person.Examples) != 1 || person.Examples[0].String() != "person_id=2501.00" {
		t.Errorf("drift under traffic: %+v", report)
	}
	if n := stop(); n < 50 {
		t.Errorf("only %d statements of traffic", n)
	}
}
