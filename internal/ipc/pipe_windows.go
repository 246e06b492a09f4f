package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard/internal/proc"
)

// Relies on: named pipes whose first instance only one process can create, an
// access list for this user and SYSTEM, no remote clients (go-winio sees to the
// first and the last), and GetNamedPipeClientProcessId / ServerProcessId.

const (
	pipePrefix = `\\.\pipe\`
	maxPipe    = 256 // with the prefix; CreateNamedPipe
	pipeBuffer = 4096
)

// stream is the Windows part of a Conn. A pipe cannot be asked what there is room
// for, so a goroutine writes, while there is something to write.
type stream struct {
	pipe    net.Conn
	server  bool // this end accepted
	mu      sync.Mutex
	queue   []byte
	writing bool
	failed  error
}

func (s *stream) read(p []byte) (int, error) {
	n, err := s.pipe.Read(p)
	return n, plain(err)
}

func (s *stream) setReadDeadline(t time.Time) error { return plain(s.pipe.SetReadDeadline(t)) }

func (s *stream) close() error {
	s.mu.Lock()
	s.failed = closedError("link")
	s.mu.Unlock()
	return plain(s.pipe.Close())
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
		s.failed = plain(err)
	}
}

func plain(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, winio.ErrFileClosed), errors.Is(err, winio.ErrPipeListenerClosed):
		return closedError("pipe")
	case errors.Is(err, winio.ErrTimeout):
		return os.ErrDeadlineExceeded
	}
	return err
}

// isGone knows that Qt disconnects its clients instead of closing.
func isGone(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, windows.ERROR_PIPE_NOT_CONNECTED)
}

// Listener accepts connections at an address. Its methods are safe for concurrent
// use.
type Listener struct {
	pipes   net.Listener
	address Address
}

// Listen listens at a. Only the user of this process and SYSTEM can connect.
func Listen(a Address) (*Listener, error) {
	if err := check(a); err != nil {
		return nil, err
	}
	own, err := userOf(windows.CurrentProcess())
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %q: own user: %w", a, err)
	}
	pipes, err := winio.ListenPipe(string(a), &winio.PipeConfig{
		SecurityDescriptor: "D:P(A;;GA;;;" + own + ")(A;;GA;;;SY)",
		InputBufferSize:    pipeBuffer,
		OutputBufferSize:   pipeBuffer,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %q: %w: does another process use the name?", a, err)
	}
	if onWine() { // attaches the first client to an instance that never serves
		if c, err := winio.DialPipe(string(a), nil); err == nil {
			c.Close()
		}
	}
	return &Listener{pipes: pipes, address: a}, nil
}

func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// Accept waits for a connection. os.ErrClosed: the listener was closed. After any
// other error the listener is as good as before: try again after a pause.
func (l *Listener) Accept() (*Conn, error) {
	pipe, err := l.pipes.Accept()
	if err != nil {
		return nil, fmt.Errorf("cannot accept at %q: %w", l.address, plain(err))
	}
	return &Conn{stream: stream{pipe: pipe, server: true}}, nil
}

// Close ends the listening and every Accept.
func (l *Listener) Close() error { return plain(l.pipes.Close()) }

// Dial connects to whoever listens at a. ErrAbsent: nobody. It waits, until ctx
// ends, while that process does not accept.
func Dial(ctx context.Context, a Address) (*Conn, error) {
	if err := check(a); err != nil {
		return nil, err
	}
	pipe, err := winio.DialPipeContext(ctx, string(a))
	switch {
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND):
		return nil, fmt.Errorf("cannot connect to %q: %w", a, ErrAbsent)
	case ctx.Err() != nil && err != nil:
		return nil, fmt.Errorf("cannot connect to %q: its holder accepts no connections: %w", a, ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("cannot connect to %q: %w", a, err)
	}
	return &Conn{stream: stream{pipe: pipe}}, nil
}

func check(a Address) error {
	switch {
	case !strings.HasPrefix(string(a), pipePrefix) || len(a) == len(pipePrefix) || strings.ContainsRune(string(a), 0):
		return fmt.Errorf(`%q is not an address: it must begin with \\.\pipe\`, a)
	case len(a) > maxPipe:
		return fmt.Errorf("the pipe name %q has %d bytes, this system allows %d: choose a shorter name", a, len(a), maxPipe)
	}
	return nil
}

// Peer returns the kernel's word on who is at the other end.
func (c *Conn) Peer() (Peer, error) {
	pipe, ok := c.pipe.(interface{ Fd() uintptr })
	if !ok {
		return Peer{UID: -1}, errors.New("cannot tell who is at the other end: the pipe has no handle")
	}
	ask := windows.GetNamedPipeServerProcessId
	if c.server {
		ask = windows.GetNamedPipeClientProcessId
	}
	var pid uint32
	if err := ask(windows.Handle(pipe.Fd()), &pid); err != nil {
		return Peer{UID: -1}, fmt.Errorf("cannot tell who is at the other end: %w", err)
	}
	p := Peer{UID: -1, PID: int(pid), conn: c}
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return p, nil // its user stays unknown, and it is not trusted
	}
	defer windows.CloseHandle(process)
	p.user, _ = userOf(process)
	return p, nil
}

func userOf(process windows.Handle) (string, error) {
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token); err != nil {
		return "", err
	}
	defer token.Close()
	user, err := token.GetTokenUser()
	if err != nil {
		return "", err
	}
	return user.User.Sid.String(), nil
}

const system = "S-1-5-18"

func (p Peer) trusted() error {
	own, err := userOf(windows.CurrentProcess())
	switch {
	case err != nil:
		return fmt.Errorf("%v: own user: %w: %w", p, err, ErrUntrusted)
	case p.user == "":
		return fmt.Errorf("%v: its user is unknown: %w", p, ErrUntrusted)
	case p.user != own && p.user != system:
		return fmt.Errorf("%v runs as user %s, this one as %s: %w", p, p.user, own, ErrUntrusted)
	}
	return nil
}

var peekNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("PeekNamedPipe")

// open opens the process by its number. That its end of the pipe is still there
// after that proves that the number was not used again.
func (p Peer) open() (*proc.Handle, error) {
	h, err := proc.Open(p.PID)
	if err != nil {
		return nil, err
	}
	var left uint32
	ok, _, err := peekNamedPipe.Call(p.conn.pipe.(interface{ Fd() uintptr }).Fd(), 0, 0, 0, uintptr(unsafe.Pointer(&left)), 0)
	if ok == 0 {
		h.Close()
		return nil, fmt.Errorf("%v: %w (%w)", p, proc.ErrGone, err)
	}
	return h, nil
}
