package stacktest

import "syscall"

// attributes keep the terminal's signals away from a child and end it with this process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
