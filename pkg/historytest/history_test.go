package historytest

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/pgtest"
)

// TestModelFollows holds the model against a server: it is of no use if it is wrong itself.
func TestModelFollows(t *testing.T) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, Schema); err != nil {
		t.Fatal(err)
	}
	h := New(1)
	filled := map[string]bool{} // a table may just have been truncated
	for range 4 {
		for range 100 {
			if err := h.Step(ctx, conn); err != nil {
				t.Fatal(err)
			}
		}
		for _, table := range Tables() {
			got, err := Stored(ctx, conn, table)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, h.Rows(table)) {
				t.Errorf("%s: the server has %d rows, the model %d, or others", table, len(got), len(h.Rows(table)))
			}
			filled[table] = filled[table] || len(got) > 0
		}
	}
	for _, table := range Tables() {
		if !filled[table] {
			t.Errorf("%s never had a row", table)
		}
	}
}
