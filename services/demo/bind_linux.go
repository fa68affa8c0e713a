package demo

import (
	"os/exec"
	"syscall"
)

// bindToParent makes the child end with this process, however that ends, and keeps the terminal's Ctrl-C from it: the
// demo stops its children in order.
func bindToParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
