package proc

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Relies on: sysctl kern.proc.pid and the layout of its struct kinfo_proc on 64-bit
// systems (sys/user.h, the same since FreeBSD 7 by its own promise), checked by the
// size that it states. Written by the book, not run.

// bootID is not needed: the start time is a time of day.
func bootID() string { return "" }

const (
	kinfoSize   = 1088
	kinfoStart  = 336 // ki_start, a timeval
	kinfoStat   = 388 // ki_stat
	zombieState = 5   // SZOMB, sys/proc.h
)

func readState(pid int) (state, error) {
	b, err := unix.SysctlRaw("kern.proc.pid", pid)
	switch {
	case err == unix.ESRCH, err == nil && len(b) == 0:
		return state{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	case err != nil:
		return state{}, fmt.Errorf("process %d: cannot be asked about: %w", pid, err)
	case len(b) < kinfoSize || binary.NativeEndian.Uint32(b) != kinfoSize:
		return state{}, fmt.Errorf("process %d: the kernel describes processes in another way than on 64-bit FreeBSD: %w", pid, ErrNotSupported)
	}
	seconds, micro := binary.NativeEndian.Uint64(b[kinfoStart:]), binary.NativeEndian.Uint64(b[kinfoStart+8:])
	return state{start: seconds*1e6 + micro, dead: b[kinfoStat] == zombieState}, nil
}

// exitOf reads the wait status that NOTE_EXIT brings.
func exitOf(e *unix.Kevent_t) ExitStatus { return statusOf(unix.WaitStatus(uint32(e.Data))) }
