package main

import (
	"io"
	"strings"
	"sync"
)

// board is a terminal with a block of lines at its end that is drawn again and again, while what is written through it appears
// above. It is safe for several goroutines.
type board struct {
	to io.Writer

	mu    sync.Mutex
	block string
}

// Write writes above the block. A half line is as good as a whole one: loggers write whole ones.
func (b *board) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.block == "" {
		return b.to.Write(text)
	}
	if _, err := io.WriteString(b.to, b.erase()+string(text)+b.block); err != nil {
		return 0, err
	}
	return len(text), nil
}

// draw puts another block in the place of the last one. Its lines end in newlines.
func (b *board) draw(block string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = io.WriteString(b.to, b.erase()+block) // a terminal that is gone shows nothing
	b.block = block
}

// keep leaves the last block where it is and begins anew below.
func (b *board) keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.block = ""
}

// erase goes up over the block and clears the screen from there.
func (b *board) erase() string {
	n := strings.Count(b.block, "\n")
	if n == 0 {
		return ""
	}
	return strings.Repeat("\x1b[A", n) + "\r\x1b[J"
}
