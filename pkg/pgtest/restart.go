package pgtest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"segue/pkg/embedded"
)

// PrivateIn is Private in a folder of the caller's, which must be empty: on a file system of its own, say. The caller removes it.
func PrivateIn(t testing.TB, dir string, settings map[string]string) *Cluster {
	t.Helper()
	c := launch(t, dir, settings)
	t.Cleanup(func() { c.Private.Kill() })
	return c
}

// Stop shuts a private server down: in good order, or at once, as a power failure would.
func (c *Cluster) Stop(t testing.TB, atOnce bool) {
	t.Helper()
	if atOnce {
		c.Private.Kill()
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := c.Private.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// Start starts a server that has stopped, on the same port.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	again, err := embedded.StartPostgres(ctx, c.cfg)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(c.cfg.Dir, "log"))
		t.Fatalf("start again: %v\n%s", err, log)
	}
	c.Private = again
}

// Runs says whether a private server is there.
func (c *Cluster) Runs() bool { return c.Private.Runs() }
