package ipc

import (
	"os"

	"golang.org/x/sys/unix"
)

// Relies on: os.NewFile hands a descriptor that does not block to Go's poller, and
// no other; dup3 replaces what is behind a number.

// unpolled makes a file of a descriptor, which it takes over even when it fails,
// without handing it to Go's poller. A process that only keeps a descriptor for
// another would else be woken by whatever happens there: by each line that a
// program writes, for a copy of its pipe. Nor may the descriptor be made blocking
// for a moment: all copies of it would be.
func unpolled(fd int, name string) (*os.File, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_NONBLOCK == 0 {
		return os.NewFile(uintptr(fd), name), nil
	}
	defer unix.Close(fd)
	if err != nil {
		return nil, err
	}
	place, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(place), name)
	if err := unix.Dup3(fd, place, unix.O_CLOEXEC); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
