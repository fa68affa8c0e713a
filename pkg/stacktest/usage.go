package stacktest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a service has cost, over all its lives.
type Usage struct {
	CPU     time.Duration // user and system
	PeakRSS int64         // bytes, of its largest life
	Lives   int
}

func (u *Usage) add(other Usage) {
	u.CPU += other.CPU
	u.PeakRSS = max(u.PeakRSS, other.PeakRSS)
	u.Lives += other.Lives
}

// ticksPerSecond is USER_HZ, which Linux fixes for /proc on every architecture that Go knows.
const ticksPerSecond = 100

// usage reads /proc while the process lives. (The peak that the kernel reports at a child's end may be that of its parent
// before exec.) Once it is gone, only the time is known.
func (p *process) usage() Usage {
	u := Usage{Lives: 1}
	if !p.running() {
		u.CPU = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
		return u
	}
	u.CPU, u.PeakRSS = cpuOf(p.pid()), peakOf(p.pid())
	return u
}

func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in parentheses may hold spaces: fields are counted behind it.
	fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

func peakOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}
