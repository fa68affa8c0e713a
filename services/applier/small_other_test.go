//go:build !linux

package applier

import "testing"

// small would mount a small file system.
func small(t *testing.T, _ int) string {
	t.Helper()
	t.Skip("NOT TESTED: a small file system is mounted on Linux only")
	return ""
}
