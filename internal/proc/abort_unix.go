//go:build unix

package proc

import (
	"errors"
	"syscall"
)

// Abort ends the process in the way that makes it say what it was doing: SIGABRT,
// and SIGCONT for one that is stopped. A Go program prints its goroutines, others
// may leave a core. Whoever catches the signal may live on. nil when it is dead
// already.
func (h *Handle) Abort() error {
	return ignoreGone(errors.Join(h.signal(syscall.SIGABRT), h.signal(syscall.SIGCONT)))
}
