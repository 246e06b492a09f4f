//go:build linux || darwin || freebsd

package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on: Unix stream sockets as files of the Go poller. The package net could
// do the same, but brings its resolver, and memory, into every guarded process.

const (
	// backlog is how many connections may wait for Accept.
	backlog = 128
	// fullRetry is how often Dial tries when those are taken: connect() does not
	// wait for room on a non-blocking socket, and no event announces it.
	fullRetry = 5 * time.Millisecond
)

// stream is the Unix part of a Conn.
type stream struct {
	file *os.File
	raw  syscall.RawConn
	// made is when the connection was seen to exist: its peer is older than that.
	made instant
}

func newConn(fd int) (*Conn, error) {
	file := os.NewFile(uintptr(fd), "link")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Conn{stream: stream{file: file, raw: raw, made: now()}}, nil
}

func (s *stream) read(p []byte) (int, error) {
	n, err := s.file.Read(p)
	return n, plain(err, "link")
}

func (s *stream) setReadDeadline(t time.Time) error {
	if err := s.file.SetReadDeadline(t); err != nil { // a socket has deadlines, so it is closed
		return closedError("link")
	}
	return nil
}

func (s *stream) close() error { return plain(s.file.Close(), "link") }

// trySend asks the kernel once; no room is no error.
func (s *stream) trySend(p []byte) (n int, err error) {
	failed := s.raw.Control(func(fd uintptr) { n, err = retry(func() (int, error) { return send(int(fd), p) }) })
	if failed != nil {
		return 0, closedError("link")
	}
	if err == unix.EAGAIN || err == unix.ENOBUFS {
		return 0, nil
	}
	return max(n, 0), err
}

// plain takes away what os.File adds: the path error of a file that has no path.
func plain(err error, what string) error {
	var inner *fs.PathError
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, os.ErrClosed):
		return closedError(what)
	case errors.As(err, &inner):
		return inner.Err
	}
	return err
}

func isGone(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ENOTCONN)
}

// Listener accepts connections at an address. Its methods are safe for concurrent
// use.
type Listener struct {
	file    *os.File
	raw     syscall.RawConn
	address Address
}

// Listen listens at a. The caller holds the name lock and has removed what an
// earlier holder left there. Only the user of this process (and root) can connect.
func Listen(a Address) (*Listener, error) { return listenWith(socket, a) }

func listenWith(socket func() (int, error), a Address) (*Listener, error) {
	name, err := sockaddr(a)
	if err != nil {
		return nil, err
	}
	fd, err := socket()
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %q: socket: %w", a, err)
	}
	// Linux gives the file the mode of the socket, so that it never has another;
	// elsewhere chmod does it. Nobody can connect before listen().
	_ = unix.Fchmod(fd, 0o600)
	err = unix.Bind(fd, name)
	if err == nil {
		err = unix.Chmod(string(a), 0o600)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return nil, listenError(a, err)
	}
	return newListener(fd, a)
}

func newListener(fd int, a Address) (*Listener, error) {
	file := os.NewFile(uintptr(fd), string(a))
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Listener{file: file, raw: raw, address: a}, nil
}

func listenError(a Address, err error) error {
	hint := ""
	switch err {
	case unix.EADDRINUSE:
		hint = ": something is there already, remove it if no process uses it"
	case unix.ENOENT, unix.ENOTDIR:
		hint = ": its folder does not exist, create it"
	case unix.EACCES, unix.EPERM:
		hint = ": this user may not create files there"
	}
	return fmt.Errorf("cannot listen at %q: %w%s", a, err, hint)
}

// Accept waits for a connection. os.ErrClosed: the listener was closed. After any
// other error, such as too many open files, the listener is as good as before: try
// again after a pause.
func (l *Listener) Accept() (*Conn, error) {
	var fd int
	var err error
	failed := l.raw.Read(func(s uintptr) bool {
		fd, err = retry(func() (int, error) { return accept(int(s)) })
		return err != unix.EAGAIN && err != unix.ECONNABORTED
	})
	if failed != nil {
		return nil, closedError(fmt.Sprintf("listener at %q", l.address))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot accept at %q: %w", l.address, err)
	}
	return newConn(fd)
}

// Close ends the listening and every Accept. The socket's file stays: it belongs
// to the holder of the name lock.
func (l *Listener) Close() error { return plain(l.file.Close(), "listener") }

// Dial connects to whoever listens at a. ErrAbsent: nobody. It waits, until ctx
// ends, only while more connections wait there than fit: that process does not
// accept. (macOS and FreeBSD do not tell that from nobody listening.) Being
// connected does not prove that the other end runs.
func Dial(ctx context.Context, a Address) (*Conn, error) { return dialWith(ctx, socket, a) }

func dialWith(ctx context.Context, socket func() (int, error), a Address) (*Conn, error) {
	name, err := sockaddr(a)
	if err != nil {
		return nil, err
	}
	for {
		conn, err := connect(socket, name)
		if err == nil {
			return conn, nil
		}
		if err != unix.EAGAIN {
			return nil, dialError(a, err)
		}
		select {
		case <-time.After(fullRetry):
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot connect to %q: its holder accepts no connections: %w", a, ctx.Err())
		}
	}
}

func connect(socket func() (int, error), name *unix.SockaddrUnix) (*Conn, error) {
	fd, err := socket()
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, name); err != nil {
		unix.Close(fd)
		if err == unix.EINTR { // nothing is in progress: local sockets connect at once or not at all
			err = unix.EAGAIN
		}
		return nil, err
	}
	return newConn(fd)
}

func dialError(a Address, err error) error {
	switch err {
	case unix.ENOENT, unix.ECONNREFUSED:
		return fmt.Errorf("cannot connect to %q: %w (%w)", a, ErrAbsent, err)
	case unix.EACCES, unix.EPERM:
		return fmt.Errorf("cannot connect to %q: %w: it belongs to another user", a, err)
	}
	return fmt.Errorf("cannot connect to %q: %w", a, err)
}

// sockaddr checks what the kernel would misunderstand: it cuts off nothing and
// takes "@" for a name outside the file system.
func sockaddr(a Address) (*unix.SockaddrUnix, error) {
	switch {
	case !strings.HasPrefix(string(a), "/") || strings.ContainsRune(string(a), 0):
		return nil, fmt.Errorf("%q is not an address: it must be an absolute path", a)
	case len(a) > maxPath:
		return nil, fmt.Errorf("the socket path %q has %d bytes, this system allows %d: choose a shorter folder or name", a, len(a), maxPath)
	}
	return &unix.SockaddrUnix{Name: string(a)}, nil
}

// maxPath is the length of a socket path, without the final zero byte.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// Peer returns the kernel's word on who is at the other end.
func (c *Conn) Peer() (Peer, error) {
	p := Peer{UID: -1, conn: c}
	var err error
	if c.raw.Control(func(fd uintptr) { p.UID, p.PID, err = credentials(int(fd)) }) != nil {
		return Peer{UID: -1}, closedError("link")
	}
	if err != nil {
		return Peer{UID: -1}, fmt.Errorf("cannot tell who is at the other end: %w", err)
	}
	p.user = "user " + strconv.Itoa(p.UID)
	return p, nil
}

func (p Peer) trusted() error {
	switch own := os.Geteuid(); {
	case p.UID == own || p.UID == 0:
		return nil
	case p.UID < 0:
		return fmt.Errorf("%v: its user is unknown: %w", p, ErrUntrusted)
	default:
		return fmt.Errorf("%v runs as %s, this one as user %d: %w", p, p.user, own, ErrUntrusted)
	}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
