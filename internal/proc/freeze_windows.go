package proc

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/windows"
)

var (
	ntdll            = windows.NewLazySystemDLL("ntdll.dll")
	ntSuspendProcess = ntdll.NewProc("NtSuspendProcess")
	ntResumeProcess  = ntdll.NewProc("NtResumeProcess")
)

// What Signal takes beside os.Kill and SIGTERM, with the numbers that SIGSTOP and
// SIGCONT have elsewhere: no such signals exist here.
const (
	FreezeSignal = syscall.Signal(19) // does what Freeze does
	ThawSignal   = syscall.Signal(18) // does what Thaw does
)

// Freeze stops all threads of the process where they are, as SIGSTOP does
// elsewhere: it makes a process hang for a test or a demonstration.
func (h *Handle) Freeze() error { return h.withThreads("freeze", ntSuspendProcess) }

// Thaw takes one Freeze back.
func (h *Handle) Thaw() error { return h.withThreads("thaw", ntResumeProcess) }

func (h *Handle) withThreads(what string, call *windows.LazyProc) error {
	h.sys.mu.RLock() // the open handle keeps the number from being used again
	defer h.sys.mu.RUnlock()
	switch {
	case h.isDone():
		return fmt.Errorf("cannot %s %v: %w", what, h.id, ErrGone)
	case h.sys.closed:
		return ErrClosed
	}
	process, err := windows.OpenProcess(windows.PROCESS_SUSPEND_RESUME, false, uint32(h.id.PID))
	if err != nil {
		return fmt.Errorf("cannot %s %v: %w", what, h.id, err)
	}
	defer windows.CloseHandle(process)
	if status, _, _ := call.Call(uintptr(process)); status != 0 {
		return fmt.Errorf("cannot %s %v: %w", what, h.id, windows.NTStatus(status))
	}
	return nil
}
