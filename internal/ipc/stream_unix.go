//go:build linux || darwin || freebsd

package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on: a listening socket is shared by all who have a descriptor of it, and
// the kernel tells who connects the process that called listen() last.

// Stream is one connection of a StreamListener. Its methods are safe for
// concurrent use.
type Stream struct{ conn *Conn }

// Read waits for bytes; its errors are those of Conn.Read.
func (s *Stream) Read(p []byte) (int, error) { return s.conn.Read(p) }

// Write waits until all of p is the kernel's, unlike Conn.Send. io.EOF: the other
// end is gone; os.ErrDeadlineExceeded: the deadline passed, and a part may have
// been written; os.ErrClosed: this end was closed.
func (s *Stream) Write(p []byte) (int, error) {
	n, err := s.conn.file.Write(p)
	if err = plain(err, "stream"); isGone(err) {
		err = io.EOF
	}
	return n, err
}

// SetDeadline ends waiting and future Reads and Writes at t; the zero time takes
// the deadline away.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline is SetDeadline for Reads alone.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.conn.setReadDeadline(t) }

// SetWriteDeadline is SetDeadline for Writes alone.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	if err := s.conn.file.SetWriteDeadline(t); err != nil {
		return closedError("stream")
	}
	return nil
}

// Peer returns the kernel's word on who is at the other end.
func (s *Stream) Peer() (Peer, error) { return s.conn.Peer() }

// Close ends the connection and everything that waits for it.
func (s *Stream) Close() error { return s.conn.Close() }

// StreamListener accepts streams at an address, and can be shared with another
// process, which goes on with it when this one is dead. Its methods are safe for
// concurrent use.
type StreamListener struct{ listener *Listener }

// ListenStream listens at a, as Listen does.
func ListenStream(a Address) (*StreamListener, error) {
	l, err := Listen(a)
	if err != nil {
		return nil, err
	}
	return &StreamListener{l}, nil
}

// AdoptStream goes on with the listener at a whose File another process has given
// away. From now on the kernel calls this process the listener; who had connected
// before, and was not accepted, is accepted here. It takes the file over even when
// it fails.
func AdoptStream(f *os.File, a Address) (*StreamListener, error) {
	l, err := adoptListener(f, a)
	if err != nil {
		return nil, err
	}
	return &StreamListener{l}, nil
}

// DialStream connects to the StreamListener at a, in the time and with the errors
// of Dial.
func DialStream(ctx context.Context, a Address) (*Stream, error) {
	c, err := Dial(ctx, a)
	if err != nil {
		return nil, err
	}
	return &Stream{c}, nil
}

// Accept waits for a connection; its errors are those of Listener.Accept.
func (l *StreamListener) Accept() (*Stream, error) {
	c, err := l.listener.Accept()
	if err != nil {
		return nil, err
	}
	return &Stream{c}, nil
}

// File returns a descriptor of the listener for another process, which keeps the
// address open as long as it is. The caller closes it.
func (l *StreamListener) File() (*os.File, error) { return l.listener.share() }

// Close ends the listening here and every Accept; others that have the listener go
// on. The socket's file stays.
func (l *StreamListener) Close() error { return l.listener.Close() }

// share duplicates the listener's descriptor.
func (l *Listener) share() (*os.File, error) {
	var fd int
	var err error
	failed := l.raw.Control(func(s uintptr) { fd, err = duplicate(s) })
	if failed != nil {
		return nil, closedError(fmt.Sprintf("listener at %q", l.address))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot share the listener at %q: %w", l.address, err)
	}
	return unpolled(fd, string(l.address))
}

// adoptListener makes a listener of what share returned.
func adoptListener(f *os.File, a Address) (*Listener, error) {
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("cannot take over the listener at %q: %w", a, err)
	}
	var fd int
	failed := raw.Control(func(s uintptr) {
		if fd, err = duplicate(s); err != nil {
			return
		}
		err = unix.SetNonblock(fd, true)
		if err == nil {
			err = unix.Listen(fd, backlog)
		}
		if err != nil {
			unix.Close(fd)
		}
	})
	if err = errors.Join(failed, err); err != nil {
		return nil, fmt.Errorf("cannot take over the listener at %q: %w", a, err)
	}
	return newListener(fd, a)
}

func duplicate(fd uintptr) (int, error) { return unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }
