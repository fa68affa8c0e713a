package embedded

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
)

// owner is the user that a server runs as. A nil id: whoever runs this process.
type owner struct{ id *syscall.Credential }

// serverOwner finds a user for PostgreSQL, which refuses to run as root.
func serverOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return &owner{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &owner{id: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
		}
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody: run as another user")
}

func (o *owner) own(path string) error {
	if o.id == nil {
		return nil
	}
	return os.Chown(path, int(o.id.Uid), int(o.id.Gid))
}

func (o *owner) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGDATA=")
	cmd.SysProcAttr = processAttributes()
	cmd.SysProcAttr.Credential = o.id
	return cmd
}

// startBound starts cmd on a thread that lives as long as the command does: Linux sends the parent-death signal when
// the starting thread ends, not when the process does. The channel is closed when the command has ended.
func startBound(cmd *exec.Cmd) (*os.Process, chan struct{}, error) {
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return nil, nil, err
	}
	return cmd.Process, exited, nil
}
