package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/embedded"
)

// VersionVariable chooses the major version of the private servers that tests start: 14 to 18. Unset: what the machine has.
const VersionVariable = "SEGUE_TEST_POSTGRES_VERSION"

// Binaries returns the folder of the server binaries that tests start private clusters with: of the version that
// SEGUE_TEST_POSTGRES_VERSION names, the machine's own where it has it, else fetched once. Without it, it returns nothing,
// and a cluster takes what it finds. An error that is embedded.ErrNoPostgres says that the version cannot be had here.
func Binaries(ctx context.Context) (string, error) {
	asked := os.Getenv(VersionVariable)
	if asked == "" {
		return "", nil
	}
	if major, err := strconv.Atoi(asked); err != nil || major < 14 {
		return "", fmt.Errorf("%s is %q: it names a major version, 14 or later", VersionVariable, asked)
	}
	for _, dir := range installed(ctx, asked) {
		if majorOf(ctx, dir) == asked {
			return dir, nil
		}
	}
	bin, err := fetched(ctx, asked)
	if err != nil {
		return "", &missing{version: asked, why: err}
	}
	if got := majorOf(ctx, bin); got != asked {
		return "", fmt.Errorf("the fetched binaries in %s are version %q, asked was %s", bin, got, asked)
	}
	return bin, nil
}

// missing is embedded.ErrNoPostgres for one version.
type missing struct {
	version string
	why     error
}

func (m *missing) Error() string {
	return fmt.Sprintf("this machine has no PostgreSQL %s, and it cannot be fetched: %v", m.version, m.why)
}
func (m *missing) Unwrap() []error { return []error{embedded.ErrNoPostgres, m.why} }

// installed are the folders where the machine's own binaries of the version may be.
func installed(ctx context.Context, major string) []string {
	dirs := []string{"/usr/lib/postgresql/" + major + "/bin", "/usr/pgsql-" + major + "/bin", "/opt/homebrew/opt/postgresql@" + major + "/bin"}
	if own, err := embedded.FindPostgres(ctx); err == nil {
		dirs = append([]string{own}, dirs...)
	}
	return dirs
}

// majorOf asks the binaries in a folder: "postgres (PostgreSQL) 15.18 (Debian …)", "… 19beta1". Nothing: there are none.
func majorOf(ctx context.Context, bin string) string {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return ""
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return ""
	}
	_, version, _ := strings.Cut(string(out), "(PostgreSQL) ")
	end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	return version[:max(0, end)]
}

// Tell writes which server a test process has started, in a line that .ci/test.sh looks for, and fails the test where the
// server is not of the version that SEGUE_TEST_POSTGRES_VERSION asks for.
func Tell(t testing.TB, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("test server: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var version, number string
	if err := conn.QueryRow(t.Context(), `SELECT current_setting('server_version'), current_setting('server_version_num')`).Scan(&version, &number); err != nil {
		t.Fatalf("test server: %v", err)
	}
	if asked := os.Getenv(VersionVariable); asked != "" && asked != number[:len(number)-4] {
		t.Fatalf("test server: it is PostgreSQL %s, and %s asks for %s", version, VersionVariable, asked)
	}
	t.Logf("test server: PostgreSQL %s", version)
}
