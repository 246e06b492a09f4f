package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard/internal/proc"
)

// Relies on: overlapped pipe handles waited on by Go's own poller (Go 1.25), and
// GetNamedPipeClientProcessId / ServerProcessId (Windows Vista).

const (
	pipePrefix = `\\.\pipe\`
	maxPipe    = 256 // with the prefix; CreateNamedPipe
	pipeBuffer = 4096
	// dialPause is between two tries while all instances of a pipe are taken.
	dialPause = 10 * time.Millisecond
	// lastWrite is how long a write may go on after Close: what Send took shortly
	// before, a goodbye above all, is not lost unless the other end reads no more.
	lastWrite = 200 * time.Millisecond
)

// stream is the Windows part of a Conn. A pipe cannot be asked what there is room
// for, so a goroutine writes, while there is something to write.
type stream struct {
	pipe    *os.File // overlapped
	server  bool     // this end accepted
	mu      sync.Mutex
	queue   []byte
	writing bool
	closed  bool
	failed  error
}

func newStream(pipe windows.Handle, a Address, server bool) stream {
	return stream{pipe: os.NewFile(uintptr(pipe), string(a)), server: server}
}

func (s *stream) read(p []byte) (int, error) {
	n, err := s.pipe.Read(p)
	if err != nil && s.isClosed() {
		return n, closedError("link")
	}
	return n, err
}

func (s *stream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *stream) setReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return closedError("link")
	}
	return s.pipe.SetReadDeadline(t)
}

func (s *stream) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return closedError("link")
	}
	s.closed, s.failed = true, closedError("link")
	if !s.writing {
		return s.pipe.Close()
	}
	// write closes it.
	return errors.Join(s.pipe.SetReadDeadline(time.Unix(0, 1)), s.pipe.SetWriteDeadline(time.Now().Add(lastWrite)))
}

// trySend takes p when the queue is empty, else nothing.
func (s *stream) trySend(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return 0, s.failed
	}
	if s.writing {
		return 0, nil
	}
	s.queue = append(s.queue[:0], p...)
	s.writing = true
	go s.write()
	return len(p), nil
}

func (s *stream) write() {
	_, err := s.pipe.Write(s.queue)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	s.queue = nil
	if err != nil && s.failed == nil {
		s.failed = err
	}
	if s.closed {
		_ = s.pipe.Close()
	}
}

// isGone knows that Qt disconnects its clients instead of closing.
func isGone(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, windows.ERROR_PIPE_NOT_CONNECTED)
}

// Dial connects to whoever listens at a. ErrAbsent: nobody. It waits, until ctx
// ends, while that process does not accept.
func Dial(ctx context.Context, a Address) (*Conn, error) {
	if err := check(a); err != nil {
		return nil, err
	}
	for {
		pipe, err := openPipe(a)
		switch {
		case err == nil:
			return &Conn{stream: newStream(pipe, a, false)}, nil
		case errors.Is(err, windows.ERROR_FILE_NOT_FOUND):
			return nil, fmt.Errorf(`cannot connect to "%s": %w`, a, ErrAbsent)
		case !errors.Is(err, windows.ERROR_PIPE_BUSY):
			return nil, fmt.Errorf(`cannot connect to "%s": %w`, a, err)
		}
		pause := time.NewTimer(dialPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, fmt.Errorf(`cannot connect to "%s": its holder accepts no connections: %w`, a, ctx.Err())
		}
	}
}

// openPipe opens the client's end. The server cannot act in this user's name.
func openPipe(a Address) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(string(a))
	if err != nil {
		return windows.InvalidHandle, err
	}
	return windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_ANONYMOUS, 0)
}

func check(a Address) error {
	switch {
	case !strings.HasPrefix(string(a), pipePrefix) || len(a) == len(pipePrefix) || strings.ContainsRune(string(a), 0):
		return fmt.Errorf(`%q is not an address: it must begin with \\.\pipe\`, a)
	case len(a) > maxPipe:
		return fmt.Errorf(`the pipe name "%s" has %d bytes, this system allows %d: choose a shorter name`, a, len(a), maxPipe)
	}
	return nil
}

// ask calls something that wants the pipe's handle.
func (c *Conn) ask(question func(windows.Handle) error) error {
	raw, err := c.pipe.SyscallConn()
	var answer error
	if err == nil {
		err = raw.Control(func(pipe uintptr) { answer = question(windows.Handle(pipe)) })
	}
	switch {
	case err == nil:
		return answer
	case c.isClosed():
		return closedError("link")
	}
	return err
}

// Peer returns the kernel's word on who is at the other end.
func (c *Conn) Peer() (Peer, error) {
	about := windows.GetNamedPipeServerProcessId
	if c.server {
		about = windows.GetNamedPipeClientProcessId
	}
	var pid uint32
	if err := c.ask(func(pipe windows.Handle) error { return about(pipe, &pid) }); err != nil {
		return Peer{UID: -1}, fmt.Errorf("cannot tell who is at the other end: %w", err)
	}
	p := Peer{UID: -1, PID: int(pid), conn: c}
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return p, nil // its user stays unknown, and it is not trusted
	}
	defer windows.CloseHandle(process)
	if user, err := userOf(process); err == nil {
		p.user = user.String()
	}
	return p, nil
}

func userOf(process windows.Handle) (*windows.SID, error) {
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token); err != nil {
		return nil, err
	}
	defer token.Close()
	user, err := token.GetTokenUser()
	if err != nil {
		return nil, err
	}
	return user.User.Sid, nil
}

const system = "S-1-5-18"

func (p Peer) trusted() error {
	own, err := userOf(windows.CurrentProcess())
	switch {
	case err != nil:
		return fmt.Errorf("%v: own user: %w: %w", p, err, ErrUntrusted)
	case p.user == "":
		return fmt.Errorf("%v: its user is unknown: %w", p, ErrUntrusted)
	case p.user != own.String() && p.user != system:
		return fmt.Errorf("%v runs as user %s, this one as %s: %w", p, p.user, own, ErrUntrusted)
	}
	return nil
}

var peekNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("PeekNamedPipe")

// open opens the process by its number. That its end of the pipe is still there
// after that proves that the number was not used again.
func (p Peer) open() (*proc.Handle, error) {
	if p.conn.isClosed() {
		return nil, fmt.Errorf("%v: %w", p, closedError("link"))
	}
	h, err := proc.Open(p.PID)
	if err != nil {
		return nil, err
	}
	err = p.conn.ask(func(pipe windows.Handle) error {
		var left uint32
		if ok, _, err := peekNamedPipe.Call(uintptr(pipe), 0, 0, 0, uintptr(unsafe.Pointer(&left)), 0); ok == 0 {
			return err
		}
		return nil
	})
	if err == nil {
		return h, nil
	}
	h.Close()
	if isGone(err) || err == io.EOF {
		return nil, fmt.Errorf("%v: %w (%w)", p, proc.ErrGone, err)
	}
	return nil, fmt.Errorf("%v: its end of the link cannot be looked at: %w", p, err)
}
