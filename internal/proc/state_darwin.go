package proc

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Relies on: sysctl kern.proc.pid, and kern.bootsessionuuid (macOS 10.13), without
// which the start time, a time of day, has to do. Written by the book, not run.

// bootID names the boot.
var bootID = sync.OnceValue(func() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
})

const zombieState = 5 // SZOMB, sys/proc.h

func readState(pid int) (state, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	switch {
	case err == unix.EIO, err == unix.ESRCH: // an answer without a process in it
		return state{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	case err != nil:
		return state{}, fmt.Errorf("process %d: cannot be asked about: %w", pid, err)
	}
	began := info.Proc.P_starttime
	return state{start: uint64(began.Sec)*1e6 + uint64(began.Usec), dead: info.Proc.P_stat == zombieState}, nil
}

// exitOf: the exit status of processes that are no children is not told here.
func exitOf(*unix.Kevent_t) ExitStatus { return ExitStatus{} }
