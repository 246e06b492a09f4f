package proc

import "fmt"

// Abort returns ErrNotSupported: there is no such request on Windows.
func (h *Handle) Abort() error {
	return fmt.Errorf("asking a process what it does on Windows: %w", ErrNotSupported)
}
