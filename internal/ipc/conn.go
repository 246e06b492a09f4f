package ipc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
)

var (
	// ErrAbsent says that nobody listens at the address.
	ErrAbsent = errors.New("nobody listens there")
	// ErrBusy says that the other end does not read and a line was dropped.
	ErrBusy = errors.New("the other end does not read: the line was dropped")
	// ErrUntrusted says that the other end is another user's process.
	ErrUntrusted = errors.New("it is not to be trusted")
	// ErrNotSupported says that this operating system has no such connections, or
	// that they are not written yet.
	ErrNotSupported = errors.New("not supported on this operating system")
)

// MaxKept is how many bytes that the other end has no room for are kept for
// later, for each connection.
const MaxKept = 4096

// Conn is one connection. Its methods are safe for concurrent use; one goroutine
// at a time should read.
type Conn struct {
	stream
	mu   sync.Mutex // guards kept, and keeps lines apart
	kept []byte     // accepted by Send, not yet by the kernel; begins inside a line or between two
}

// Read waits for bytes. io.EOF says that the other end is gone, however it went;
// os.ErrDeadlineExceeded that the deadline passed; os.ErrClosed that this end was
// closed.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if isGone(err) {
		err = io.EOF
	}
	return n, err
}

// SetReadDeadline ends waiting and future Reads at t; the zero time takes the
// deadline away.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setReadDeadline(t) }

// Send sends p, which must be one or more whole lines, at most MaxKept bytes. It
// never waits: what does not fit at once is kept and sent with the next Send, up
// to MaxKept bytes; beyond that p is dropped as a whole, ErrBusy. No line is ever
// torn. io.EOF: the other end is gone; os.ErrClosed: this end was closed.
func (c *Conn) Send(p []byte) error {
	if len(p) > MaxKept {
		return fmt.Errorf("cannot send %d bytes at once: at most %d", len(p), MaxKept)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flush(); err != nil {
		return err
	}
	sent := 0
	if len(c.kept) == 0 {
		var err error
		if sent, err = c.try(p); err != nil {
			return err
		}
	}
	if len(c.kept)+len(p)-sent > MaxKept {
		return ErrBusy
	}
	c.kept = append(c.kept, p[sent:]...)
	return nil
}

// flush sends what was kept, as far as there is room; mu is held.
func (c *Conn) flush() error {
	if len(c.kept) == 0 {
		return nil
	}
	n, err := c.try(c.kept)
	if err != nil {
		return err
	}
	c.kept = c.kept[:copy(c.kept, c.kept[n:])]
	if len(c.kept) == 0 {
		c.kept = nil // the other end reads again: months may pass until the next time
	}
	return nil
}

// try sends what there is room for.
func (c *Conn) try(p []byte) (int, error) {
	n, err := c.trySend(p)
	if isGone(err) {
		err = io.EOF
	}
	return n, err
}

// Close ends the connection and everything that waits for it. What was kept is
// lost.
func (c *Conn) Close() error { return c.close() }

// Peer is the process at the other end, as the kernel named it when the
// connection was made.
type Peer struct {
	// UID is its effective user; -1: unknown (and on Windows always).
	UID int
	// PID is its number; 0: unknown, or not visible from here.
	PID int

	conn *Conn
	user string // how its user is called in messages; Windows: the security identifier
}

// Open returns a handle on the process. proc.ErrGone: it has ended. The
// connection must still be open at this end.
func (p Peer) Open() (*proc.Handle, error) {
	if p.conn == nil {
		return nil, errors.New("cannot open an unknown peer")
	}
	return p.open()
}

// Trusted returns nil when the peer runs as the same user as this process, or as
// root (Windows: SYSTEM); else an error, ErrUntrusted, that names the user.
func (p Peer) Trusted() error { return p.trusted() }

func (p Peer) String() string {
	if p.PID == 0 {
		return "a process that is not visible from here"
	}
	return "process " + strconv.Itoa(p.PID)
}

// closedError is what a call on something closed at this end returns.
func closedError(what string) error { return fmt.Errorf("%s: %w", what, os.ErrClosed) }
