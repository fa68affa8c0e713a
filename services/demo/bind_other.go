//go:build !linux

package demo

import "os/exec"

// bindToParent cannot bind here: a demo that is killed leaves its children.
func bindToParent(*exec.Cmd) {}
