package stacktest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	"segue/pkg/embedded"
)

// ServerTool finds a program that comes with PostgreSQL's server, beside its other programs or on the PATH.
func ServerTool(ctx context.Context, name string) (string, error) {
	dir, err := embedded.FindPostgres(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return exec.LookPath(name)
}
