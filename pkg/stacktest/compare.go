package stacktest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Pair is one target table: what it should hold, asked of the source by SQL that the test's author wrote, and what it holds.
// Both are sorted by key, in an order that no collation changes.
type Pair struct {
	Name           string
	Source, Target string
}

// shown is how many differing lines a failure shows.
const shown = 5

// Compare holds the results of both queries against each other, line by line as COPY writes them, and returns how many rows there are. Nothing
// may have been parked on the way because the target refused it.
func (s *Stack) Compare(tb testing.TB, pairs []Pair) (rows int) {
	tb.Helper()
	legacy, target := Connect(tb, s.Legacy), Connect(tb, s.Target)
	for _, p := range pairs {
		want, err := lines(tb.Context(), legacy, p.Source)
		if err != nil {
			tb.Fatalf("%s: %v", p.Name, err)
		}
		got, err := lines(tb.Context(), target, p.Target)
		if err != nil {
			tb.Fatalf("%s: %v", p.Name, err)
		}
		if d := Diff(want, got); d != "" {
			tb.Errorf("%s: source %d rows, target %d rows\n%s", p.Name, len(want), len(got), d)
		}
		rows += len(want)
	}
	var refused string
	err := target.QueryRow(tb.Context(), `SELECT coalesce(string_agg(DISTINCT source_table || ' ' || reason, '; '), '') FROM segue.parked_log WHERE stage = 'applier'`).Scan(&refused)
	if err != nil || refused != "" {
		tb.Errorf("the target refused rows that are as on the source: %s, %v", refused, err)
	}
	return rows
}

func lines(ctx context.Context, conn *pgx.Conn, query string) ([]string, error) {
	var b bytes.Buffer
	const pinned = "SET datestyle = 'ISO'; SET timezone = 'UTC'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'"
	if _, err := conn.Exec(ctx, pinned); err != nil {
		return nil, err
	}
	if _, err := conn.PgConn().CopyTo(ctx, &b, "COPY ("+query+") TO STDOUT"); err != nil {
		return nil, err
	}
	var out []string
	for line := range bytes.Lines(b.Bytes()) {
		out = append(out, string(line))
	}
	return out, nil
}

// Diff shows the first lines that only one side has. Nothing: they are equal.
func Diff(want, got []string) string {
	count := map[string]int{}
	for _, l := range want {
		count[l]++
	}
	for _, l := range got {
		count[l]--
	}
	var b bytes.Buffer
	total := 0
	tell := func(sign string, lines []string, step int) {
		for _, l := range lines {
			if count[l]*step <= 0 {
				continue
			}
			count[l] -= step
			if total++; total <= shown*2 {
				fmt.Fprintf(&b, "%s %.300s", sign, l)
			}
		}
	}
	tell("only expected:", want, 1)
	tell("only on target:", got, -1)
	if total > shown*2 {
		fmt.Fprintf(&b, "and %d more\n", total-shown*2)
	}
	return b.String()
}
