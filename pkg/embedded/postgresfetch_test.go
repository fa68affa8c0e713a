package embedded

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The download is 25 MB from Maven Central, so it is asked for: SEGUE_TEST_FETCH=1.
func TestFetchedBinariesServe(t *testing.T) {
	if os.Getenv("SEGUE_TEST_FETCH") == "" {
		t.Skip("downloads server binaries: set SEGUE_TEST_FETCH=1")
	}
	home, err := os.MkdirTemp("", "segue-fetched-") // not t.TempDir: the servers' user has to get in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	bin, err := fetchPostgres(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	server, err := StartPostgres(t.Context(), PostgresConfig{Dir: filepath.Join(home, "cluster"), Bin: bin, Settings: map[string]string{"wal_level": "logical"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop(t.Context()) }()
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "SELECT pg_create_logical_replication_slot('s', 'pgoutput')"); err != nil {
		t.Fatal(err)
	}
	again, err := fetchPostgres(t.Context(), home)
	if err != nil || again != bin {
		t.Fatalf("a second time: %s, %v", again, err)
	}
}

func TestBrokenFetchIsToldWithWhatToDo(t *testing.T) {
	home := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(home, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fetchPostgres(t.Context(), filepath.Join(home, "below")); err == nil {
		t.Fatal("made a folder below a file")
	}
}
