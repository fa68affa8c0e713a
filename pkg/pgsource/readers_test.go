package pgsource_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
)

func faultClass(err error) string { return fault.ClassOf(err).String() }

func itoa(n int) string { return strconv.Itoa(n) }

// readFew is read, but renders only the events that keep returns true for.
func (s *source) readFew(stream *pgsource.Stream, keep func(pgsource.Event) bool) []string {
	s.t.Helper()
	if _, err := pgsource.Emit(s.t.Context(), s.conn, "test", []byte("end")); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	var lines []string
	for {
		e, err := stream.Next(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		if e.Kind == pgsource.KindMessage && e.Message.Prefix == "test" {
			return lines[:len(lines)-1] // without the begin of our own message
		}
		if line := render(e); line != "" && keep(e) {
			lines = append(lines, line)
		}
	}
}

// pinnedRow reads the only row of t as a session with the pinned settings has it.
func (s *source) pinnedRow(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if err := postgres.Pin(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(t.Context(), `SELECT * FROM public.t`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		for _, b := range rows.RawValues() {
			out = append(out, string(b))
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
