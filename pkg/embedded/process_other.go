//go:build !linux

package embedded

import "syscall"

// processAttributes keep the terminal's signals away from the server.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
