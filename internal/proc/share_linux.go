package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on: a pidfd names its process in whatever process it is, until the end of
// time; a pipe's end of file, which comes when its last writer has ended or has
// replaced its program.

// Dup returns a descriptor of the process that another process can make a handle
// of (FromFile), and that the caller closes. It can be had before Done is closed;
// then ErrGone, unless a Tree is open. ErrNotSupported: there are no pidfds here.
func (h *Handle) Dup() (*os.File, error) {
	h.sys.mu.RLock()
	defer h.sys.mu.RUnlock()
	switch {
	case h.sys.pidfd >= 0:
	case h.isDone():
		return nil, fmt.Errorf("%v: %w", h.id, ErrGone)
	case h.sys.closed:
		return nil, ErrClosed
	default:
		return nil, fmt.Errorf("a descriptor of %v: pidfds: %w", h.id, ErrNotSupported)
	}
	fd, err := unix.FcntlInt(uintptr(h.sys.pidfd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot duplicate the descriptor of %v: %w", h.id, err)
	}
	return os.NewFile(uintptr(fd), h.id.String()), nil
}

// FromFile makes a handle of what Dup returned, here or in another process. It
// takes the file over even when it fails.
func FromFile(f *os.File) (*Handle, error) {
	defer f.Close()
	own := -1
	err := withFd(f, func(fd uintptr) error {
		var err error
		own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot take over %s: %w", f.Name(), err)
	}
	return FromPidfd(own)
}

// BirthPipe makes the pipe by which another process can tell when a dead one has
// no child left between its fork and its exec: every such child holds the write
// end, which closes at the exec. The write end stays open, and referenced, as long
// as this process lives, and is given to nobody but a Forker (Hold); the read end is for the other
// process (AwaitBirths).
func BirthPipe() (read, write *os.File, err error) {
	read, write, err = os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the birth pipe: %w", err)
	}
	return read, write, nil
}

// AwaitBirths waits until the process that made the birth pipe is dead and none of
// its children is on the way to its exec. It may be called again after ctx ended
// it; the file stays the caller's.
func AwaitBirths(ctx context.Context, read *os.File) error {
	own := -1
	err := withFd(read, func(fd uintptr) error {
		var err error
		own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot wait for the births: %w", err)
	}
	// Nobody reads the pipe but us, so that this may be done to the description.
	if err := unix.SetNonblock(own, true); err != nil {
		unix.Close(own)
		return fmt.Errorf("cannot wait for the births: %w", err)
	}
	pipe := os.NewFile(uintptr(own), "birth pipe") // by the Go poller
	defer pipe.Close()
	stop := context.AfterFunc(ctx, func() { _ = pipe.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var nothing [16]byte
	for {
		_, err := pipe.Read(nothing[:])
		switch {
		case err == io.EOF:
			return nil
		case err == nil: // nobody writes there
		case ctx.Err() != nil:
			return fmt.Errorf("a child is still between its fork and its exec: %w", ctx.Err())
		case errors.Is(err, syscall.EINTR):
		default:
			return fmt.Errorf("cannot wait for the births: %w", err)
		}
	}
}
