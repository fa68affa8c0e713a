package pgtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"segue/pkg/embedded"
)

// Offline stops a private server, runs one of its tools on its data folder, as its owner, and starts it again on the same port. The last argument is
// the data folder. A tool that does not come with this server skips the test.
func (c *Cluster) Offline(t testing.TB, tool string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	bin := c.cfg.Bin
	if bin == "" {
		var err error
		if bin, err = embedded.FindPostgres(ctx); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(bin, tool)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Skipf("NOT TESTED: this PostgreSQL comes without %s", tool)
	}
	if err := c.Private.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(c.cfg.Dir, "data")
	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, append(args, data)...)
	cmd.Dir = data
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
	again, err := embedded.StartPostgres(ctx, c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Private = again
}
