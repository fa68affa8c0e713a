package pgtest

import (
	"os"
	"sync"
	"syscall"
)

// open holds the pipes whose closing, by the end of the process, tells the waiting shells; a collected one would close early.
var open struct {
	sync.Mutex
	pipes []*os.File
}

func keepOpen(w *os.File) {
	open.Lock()
	defer open.Unlock()
	open.pipes = append(open.pipes, w)
}

// ownGroup keeps the terminal's interrupt away from the shell that cleans up after it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
