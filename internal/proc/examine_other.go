//go:build !linux && !windows

package proc

import (
	"fmt"
	"runtime"
)

// Examine returns ErrNotSupported: what a process cannot do anything about is not
// looked for on this system yet.
func (h *Handle) Examine() (Examination, error) {
	return Examination{}, fmt.Errorf("examining a process on %s: %w", runtime.GOOS, ErrNotSupported)
}
