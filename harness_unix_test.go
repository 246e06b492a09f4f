//go:build unix

package pairguard

import (
	"syscall"
	"testing"

	"github.com/pairguard/pairguard/internal/proc"
)

// killed is how the end of a process is told that was killed.
const killed = "signal KILL"

// suspend makes the process hang.
func suspend(t *testing.T, h *proc.Handle) {
	t.Helper()
	if err := h.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}
