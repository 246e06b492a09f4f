//go:build !linux && !windows && !darwin && !freebsd

package proc

import (
	"fmt"
	"runtime"
	"syscall"
)

// Not written for this system yet: everything says so.

type sysHandle struct{}

func notYet() error { return fmt.Errorf("processes on %s: %w", runtime.GOOS, ErrNotSupported) }

// Self returns ErrNotSupported.
func Self() (ID, error) { return ID{}, notYet() }

// Open returns ErrNotSupported.
func Open(int) (*Handle, error) { return nil, notYet() }

// Reopen returns ErrNotSupported.
func Reopen(ID) (*Handle, error) { return nil, notYet() }

// FromPidfd returns ErrNotSupported.
func FromPidfd(int) (*Handle, error) { return nil, notYet() }

// Start returns ErrNotSupported.
func Start(Spec) (*Handle, error) { return nil, notYet() }

func (h *Handle) signal(syscall.Signal) error { return notYet() }

// Close does nothing: there are no handles.
func (h *Handle) Close() {}

// Nudge does nothing: there are no handles.
func (h *Handle) Nudge() {}

// Capabilities says that processes cannot be watched here yet.
func Capabilities() []string {
	return []string{"processes cannot be started or watched on " + runtime.GOOS + " yet"}
}
