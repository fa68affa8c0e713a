package embedded

import "syscall"

// processAttributes keep the terminal's signals away from the server and stop it when this process ends.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
}
