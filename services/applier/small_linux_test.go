package applier

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// small mounts a file system of that size for this test.
func small(t *testing.T, megabytes int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: only root can mount a small file system")
	}
	dir, err := os.MkdirTemp("", "segue-small-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=777", megabytes)); err != nil {
		t.Skipf("NOT TESTED: no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		for late := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if err := syscall.Unmount(dir, 0); err == nil || time.Now().After(late) {
				if err != nil {
					t.Error(err)
				}
				return
			}
		}
	})
	return dir
}
