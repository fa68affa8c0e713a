//go:build !linux

package stacktest

import "syscall"

// attributes keep the terminal's signals away from a child.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
