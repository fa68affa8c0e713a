package stacktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// folder is where everything of this test process lies. A small shell waits for the process's end, however it comes, ends what
// has a file in pids, waits for the PostgreSQL servers and removes all.
type folder struct {
	path string
	life *os.File // its closing, by the end of the process, tells the shell
}

const janitor = `cat >/dev/null
for f in "$0"/pids/*; do [ -e "$f" ] && kill -KILL "${f##*/}" 2>/dev/null; done
for f in "$0"/*/data/postmaster.pid; do
  pid=$(head -n 1 "$f" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
  i=0; while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
done
rm -rf "$0"`

func openFolder() (*folder, error) {
	path, err := os.MkdirTemp("", "segue-stack-")
	if err != nil {
		return nil, fmt.Errorf("make the stack's folder: %w", err)
	}
	// PostgreSQL's user has to get through to its own folders.
	if err := os.Chmod(path, 0o711); err != nil { //nolint:gosec // as said
		return nil, fmt.Errorf("make the stack's folder: %w", err)
	}
	if err := os.Mkdir(filepath.Join(path, "pids"), 0o700); err != nil {
		return nil, fmt.Errorf("make the stack's folder: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the stack's folder: %w", err)
	}
	defer func() { _ = r.Close() }()
	cmd := exec.Command("sh", "-c", janitor, path) //nolint:noctx // it outlives every context of this process
	cmd.Stdin, cmd.SysProcAttr = r, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watch over the stack's folder: %w", err)
	}
	return &folder{path: path, life: w}, cmd.Process.Release()
}

func (f *folder) join(parts ...string) string {
	return filepath.Join(append([]string{f.path}, parts...)...)
}

// holds notes a process that has to be killed if this process dies before it.
func (f *folder) holds(pid int) { _ = os.WriteFile(f.join("pids", strconv.Itoa(pid)), nil, 0o600) }

func (f *folder) lets(pid int) { _ = os.Remove(f.join("pids", strconv.Itoa(pid))) }

// once is a value that the whole test process shares, made at the first call that succeeds.
type once[T any] struct {
	mu    sync.Mutex
	made  bool
	value T
}

func (o *once[T]) get(make func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.made {
		return o.value, nil
	}
	v, err := make()
	if err == nil {
		o.value, o.made = v, true
	}
	return v, err
}
