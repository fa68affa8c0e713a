package stacktest_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/stacktest"
)

// One command between two databases that exist: snapshot, stream, proof; drift is found and named; a killed process goes on exactly.
func TestRealRunAll(t *testing.T) {
	s := shop(t, stacktest.Embedded, shopRows)
	stop := traffic(t, s, shopRows, 100)
	s.Start(t)
	s.Ready(t, calm)
	prove(t, s) // while traffic is on
	filterMoves(t, s)

	s.Kill(t, "all")
	s.Start(t)
	s.Applied(t, calm)
	stop()
	s.Applied(t, calm)
	s.Compare(t, shopPairs())

	target := stacktest.Connect(t, s.Target)
	change(t, target, `UPDATE crm.customer SET given_name = given_name || '!' WHERE customer_id = 7`)
	r := s.Command(t, calm, "reconcile", "--wait", "--timeout", "20s")
	if r.Code != 4 || !strings.Contains(r.Stdout, "crm.customer") || !strings.Contains(r.Stdout, "customer_id=7") {
		t.Errorf("after a row was changed by hand: %s", r)
	}
	change(t, target, `UPDATE crm.customer SET given_name = rtrim(given_name, '!') WHERE customer_id = 7`)
	prove(t, s)
	s.Stop(t)
}

// filterMoves sees a prospect stay away, come and go as its source row enters and leaves the filter.
func filterMoves(t *testing.T, s *stacktest.Stack) {
	t.Helper()
	const id = 5_000_000 // nobody of the traffic's
	legacy, target := stacktest.Connect(t, s.Legacy), stacktest.Connect(t, s.Target)
	change(t, legacy, `INSERT INTO public.customers (id, full_name, country, status, created_at) VALUES (5000000, 'Pro Spect', 'DE', 'prospect', now())`)
	for _, step := range []struct {
		status string
		want   int
	}{{"prospect", 0}, {"active", 1}, {"prospect", 0}, {"active", 1}} {
		change(t, legacy, `UPDATE public.customers SET status = '`+step.status+`' WHERE id = 5000000`)
		s.Applied(t, calm)
		var got int
		if err := target.QueryRow(t.Context(), "SELECT count(*) FROM crm.customer WHERE customer_id = $1", id).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != step.want {
			t.Errorf("a customer who is %s: %d rows on the target, want %d", step.status, got, step.want)
		}
	}
}

func change(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
