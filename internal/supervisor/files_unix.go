//go:build unix

package supervisor

import (
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

func extraSignal(name string) syscall.Signal { return unix.SignalNum("SIG" + name) }
