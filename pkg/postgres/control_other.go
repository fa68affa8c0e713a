//go:build !linux

package postgres

import "syscall"

// control has nothing to set: keep-alives alone find a dead peer.
func control(_, _ string, _ syscall.RawConn) error { return nil }
