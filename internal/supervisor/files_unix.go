//go:build unix

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// duplicate makes descriptors for another process, which the caller closes. A file
// that was closed meanwhile is an error.
func duplicate(files ...*os.File) (copies []*os.File, err error) {
	for _, f := range files {
		raw, err := f.SyscallConn()
		fd := -1
		if err == nil {
			failed := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
			if failed != nil {
				err = failed
			}
		}
		if err != nil {
			closeAll(copies)
			return nil, fmt.Errorf("%s cannot be duplicated: %w", f.Name(), err)
		}
		copies = append(copies, os.NewFile(uintptr(fd), f.Name()))
	}
	return copies, nil
}

// openWriter opens, for a program to print into, the pipe that we read: by its
// descriptor and not by its path, which somebody may have removed. It is a description
// of its own, which waits when the pipe is full, and reads too, so that the pipe has a
// reader when no supervisor lives. Needs /proc.
func openWriter(pipe *os.File) (*os.File, error) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	failed := raw.Control(func(own uintptr) {
		fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", own), unix.O_RDWR|unix.O_CLOEXEC, 0)
	})
	if err = errors.Join(failed, err); err != nil {
		return nil, fmt.Errorf("output pipe %s cannot be opened for the program: %w", pipe.Name(), err)
	}
	return os.NewFile(uintptr(fd), pipe.Name()), nil
}

// descriptorLimit is how many descriptors this process may have; 0: not known.
func descriptorLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return int(min(uint64(r.Cur), 1<<30))
}

func extraSignal(name string) syscall.Signal { return unix.SignalNum("SIG" + name) }
