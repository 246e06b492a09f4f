//go:build unix

package pairguard

import (
	"syscall"
	"testing"

	"github.com/pairguard/pairguard/internal/proc"
)

// killed is how the end of a process is told that was killed.
const killed = "signal KILL"

// slack is what a start may take beyond what it takes on a machine in order.
const slack = 0

// suspend makes the process hang.
func suspend(t *testing.T, h *proc.Handle) {
	t.Helper()
	if err := h.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}
