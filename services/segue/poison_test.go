package main

import (
	"fmt"
	"testing"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

const poisonDDL = `CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, balance numeric(10,2));
CREATE TABLE purchase (id int PRIMARY KEY, customer int REFERENCES customer, note text);
CREATE TABLE marker (id int PRIMARY KEY);`

// TestPipelinePoison is the story of a legacy store with rows that the new one refuses: in the load and in the stream they are set aside with what
// refers to them, all others flow, the counts add up to the row; once the cause is mended one command brings them, and both stores are proved equal.
func TestPipelinePoison(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for _, stages := range []string{"fused", "staged"} {
		t.Run(stages, func(t *testing.T) { poisonLife(t, servers.Addresses(), stages) })
	}
}

func poisonLife(t *testing.T, a embedded.Addresses, stages string) {
	const rows, every = 20_000, 200
	s := plainStory(t, a, "poison-"+stages, stages, poisonDDL, "")
	pgtest.Exec(t, s.source,
		fmt.Sprintf("INSERT INTO customer SELECT i, 'customer ' || i, CASE i %% %d WHEN 7 THEN -1 ELSE 1 END FROM generate_series(1, %d) i", every, rows),
		fmt.Sprintf("INSERT INTO purchase SELECT i, i, 'of the load' FROM generate_series(1, %d) i", rows))
	pgtest.Exec(t, s.target, "ALTER TABLE customer ADD CONSTRAINT in_credit CHECK (balance >= 0)")
	s.start()
	s.await("the load is over", "SELECT loaded FROM segue.progress")
	s.want("SELECT (SELECT count(*) FROM customer) || ' ' || (SELECT count(*) FROM purchase)", fmt.Sprintf("%d %d", rows-rows/every, rows-rows/every))
	s.says(exitFine, "list --groups", "public.customer  23514  100", "public.purchase  23503  100", "constraint in_credit", "constraint purchase_customer_fkey")

	// In the stream: new rows and old ones, and a purchase in the transaction of a customer who is refused.
	pgtest.Exec(t, s.source,
		"BEGIN; INSERT INTO customer VALUES (30001, 'new', -5); INSERT INTO purchase VALUES (30001, 30001, 'with its customer'), (30002, 1, 'of another'); COMMIT",
		"INSERT INTO purchase VALUES (30003, 30001, 'later')",
		"UPDATE customer SET balance = -1 WHERE id = 2", "UPDATE customer SET name = 'renamed' WHERE id IN (1, 2, 7)",
		"UPDATE purchase SET note = 'changed' WHERE id BETWEEN 1 AND 10")
	s.marker(1)
	s.want("SELECT string_agg(id || note, ' ' ORDER BY id) FROM purchase WHERE id > 30000", "30002of another")
	s.want("SELECT name || balance FROM customer WHERE id = 2", "customer 21.00")
	s.want("SELECT count(*) || ' ' || count(cause) FROM segue.parked WHERE source_table = 'purchase' AND key_values[1]::int > 30000", "2 2")
	s.want("SELECT changes - row_ops - filtered - parked FROM segue.progress", "0")
	if code := s.process().run(t.Context(), []string{"reconcile"}); code != exitNotProved {
		s.fail("reconcile ended with exit code %d: rows are parked, want %d", code, exitNotProved)
	}

	s.says(exitDiffer, "retry --all", "23514")
	pgtest.Exec(t, s.target, "ALTER TABLE customer DROP CONSTRAINT in_credit")
	s.says(exitFine, "retry --all")
	s.says(exitFine, "list", "0 rows are parked")
	s.want("SELECT (SELECT count(*) FROM customer) || ' ' || (SELECT count(*) FROM purchase)", fmt.Sprintf("%d %d", rows+1, rows+3))
	if code := s.process().run(t.Context(), []string{"reconcile", "--wait", "--timeout", "60s"}); code != exitFine {
		s.fail("reconcile ended with exit code %d", code)
	}
	s.want("SELECT changes - row_ops - filtered - parked FROM segue.progress", "0")
}
