package output

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Relies on: a named pipe opened for reading and writing blocks in no open and has
// a reader for as long as it is open (fifo(7); POSIX leaves it undefined). Both
// ends are blocking descriptions, so that os.NewFile keeps them out of the Go poller, which would
// wake up at each write of the program; the pump asks not to wait in each call.

// MakePipe makes the named pipe of a program, readable by this user alone. One that is there already is kept, with
// what is in it.
func MakePipe(path string) error {
	err := unix.Mkfifo(path, 0o600)
	if err == nil {
		return nil
	}
	var st unix.Stat_t
	if errors.Is(err, unix.EEXIST) && unix.Lstat(path, &st) == nil {
		switch {
		case st.Mode&unix.S_IFMT != unix.S_IFIFO:
			return fmt.Errorf("output pipe %s: something else is there that is not a pipe: remove it", path)
		case int(st.Uid) != os.Geteuid():
			return fmt.Errorf("output pipe %s belongs to user %d: remove it", path, st.Uid)
		}
		return nil
	}
	return &os.PathError{Op: "make output pipe", Path: path, Err: err}
}

// OpenReader opens a supervisor's end of a pipe. It waits for nobody.
func OpenReader(path string) (*os.File, error) {
	fd, err := openPipe(path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "open output pipe", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenWriter opens a program's end of a pipe: a description of its own, blocking, which also is a reader, so that no write ever
// meets a pipe without one.
func OpenWriter(path string) (*os.File, error) {
	fd, err := openPipe(path, unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openPipe(path string, flags int) (int, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NOCTTY, 0) })
	if err != nil {
		return -1, &os.PathError{Op: "open output pipe", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return -1, fmt.Errorf("output pipe %s is not a pipe: remove it", path)
	}
	return fd, nil
}

// retry repeats a call that a signal interrupted: the Go runtime sends itself some.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}
