package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/pgtest"
	"segue/pkg/postgres"
)

func TestBusyNeedsARoleThatSees(t *testing.T) {
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	b, err := postgres.ReadBusy(t.Context(), admin)
	if err != nil || b.Hidden || b.StandbyLag != 0 {
		t.Errorf("as superuser: %+v, %v", b, err)
	}
	role := "busy_" + strings.TrimPrefix(admin.Config().Database, "segue_")
	pgtest.Exec(t, admin, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err == nil {
			_, err = conn.Exec(context.Background(), "DROP ROLE "+role)
			_ = conn.Close(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	})
	conn := pgtest.Connect(t, strings.Replace(url, "postgres@", role+"@", 1))
	if b, err = postgres.ReadBusy(t.Context(), conn); err != nil || !b.Hidden {
		t.Errorf("as a plain role: %+v, %v", b, err)
	}
	pgtest.Exec(t, admin, "GRANT pg_read_all_stats TO "+role)
	if b, err = postgres.ReadBusy(t.Context(), conn); err != nil || b.Hidden {
		t.Errorf("with pg_read_all_stats: %+v, %v", b, err)
	}
}
