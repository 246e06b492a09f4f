package pairguard

import (
	"testing"

	"github.com/pairguard/pairguard/internal/proc"
)

// killed is how the end of a process is told that was killed.
const killed = "exit code 1"

// suspend makes the process hang.
func suspend(t *testing.T, h *proc.Handle) {
	t.Helper()
	if err := h.Freeze(); err != nil {
		t.Fatal(err)
	}
}
