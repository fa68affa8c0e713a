package pgtest_test

import (
	"os"
	"testing"
)

// shortDir is a folder that another user may reach: the test's own lies below one that only this user may enter.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "segue-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
