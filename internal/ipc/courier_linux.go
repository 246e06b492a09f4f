package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on unix(7): SOCK_SEQPACKET keeps records whole and in order, also beyond
// the death of their sender; SCM_RIGHTS carries up to 253 descriptors with one;
// MSG_PEEK makes copies of them, so that a record leaves the queue only after it
// has arrived; MSG_CTRUNC says that not all descriptors could be made.
// A socket whose peer closed it with something unread says ECONNRESET once, before
// it gives what it still has.

// fullPause is between two tries while too many descriptors of this user are on
// their way, which no event announces the end of.
const fullPause = 2 * time.Millisecond

// Courier is one connection that carries records with descriptors. Its methods
// are safe for concurrent use.
type Courier struct {
	conn    *Conn // a SOCK_SEQPACKET one: only its descriptor and its peer are used
	receive sync.Mutex
	mu      sync.Mutex // guards sendBy
	sendBy  time.Time
}

func packetSocket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// newCourier takes over c, unless it fails.
func newCourier(c *Conn) (*Courier, error) {
	peer, err := c.Peer()
	if err == nil {
		err = peer.Trusted()
	}
	if err != nil {
		return nil, err
	}
	_ = c.raw.Control(func(fd uintptr) { // what was there does, too, but then fewer records are on their way
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4*MaxRecord)
	})
	return &Courier{conn: c}, nil
}

// DialCourier connects to the CourierListener at a, in the time and with the
// errors of Dial. ErrUntrusted: another user listens.
func DialCourier(ctx context.Context, a Address) (*Courier, error) {
	conn, err := dialWith(ctx, packetSocket, a)
	if err != nil {
		return nil, err
	}
	c, err := newCourier(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connected to %q: %w", a, err)
	}
	return c, nil
}

// Send sends one record, 1 to MaxRecord bytes, with up to MaxFiles files. It waits
// while the other end does not receive, until the deadline: then
// os.ErrDeadlineExceeded, and nothing was sent. The files stay the caller's. io.EOF:
// the other end is gone; what it had sent before can still be received.
func (c *Courier) Send(b []byte, files ...*os.File) error {
	if len(b) == 0 || len(b) > MaxRecord || len(files) > MaxFiles {
		return fmt.Errorf("cannot send a record of %d bytes and %d files: 1 to %d bytes and at most %d files",
			len(b), len(files), MaxRecord, MaxFiles)
	}
	return withFds(files, make([]int, 0, len(files)), func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		for {
			err := c.sendOnce(b, rights)
			if err != unix.ETOOMANYREFS && err != unix.ENOBUFS {
				return err
			}
			if late, err := c.pause(); late || err != nil {
				return err
			}
		}
	})
}

// sendOnce waits for room, but not for descriptors to arrive.
func (c *Courier) sendOnce(b, rights []byte) error {
	var err error
	failed := c.conn.raw.Write(func(fd uintptr) bool {
		_, err = retry(func() (int, error) {
			return unix.SendmsgN(int(fd), b, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
		return err != unix.EAGAIN
	})
	switch {
	case failed != nil:
		return waitError(failed)
	case isGone(err):
		return io.EOF
	}
	return err
}

// pause waits a little, and reports whether the deadline for sending is over.
func (c *Courier) pause() (late bool, err error) {
	c.mu.Lock()
	by := c.sendBy
	c.mu.Unlock()
	if !by.IsZero() && time.Now().After(by) {
		return true, os.ErrDeadlineExceeded
	}
	time.Sleep(fullPause)
	return false, nil
}

// Receive waits for a record. The files are the caller's to close; none of them is
// in Go's poller, so that one that does not block answers EAGAIN. io.EOF: the other
// end is gone, and all that it sent has been received. ErrNoDescriptors: this
// process has no room for the files; the record stays, and can be received later.
// Other errors are those of Conn.Read.
func (c *Courier) Receive() ([]byte, []*os.File, error) {
	c.receive.Lock()
	defer c.receive.Unlock()
	var p parcel
	var err error
	failed := c.conn.raw.Read(func(fd uintptr) bool {
		p, err = receive(int(fd))
		return err != unix.EAGAIN
	})
	if failed != nil {
		return nil, nil, waitError(failed)
	}
	if err != nil {
		return nil, nil, err
	}
	return p.bytes, p.files, nil
}

// parcel is a record that has arrived.
type parcel struct {
	bytes []byte
	files []*os.File
}

// receive takes one record from the queue.
func receive(fd int) (parcel, error) {
	for {
		size, _, err := unix.Recvfrom(fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR || err == unix.ECONNRESET:
			continue
		case err != nil:
			return parcel{}, err
		case size == 0:
			return parcel{}, io.EOF
		}
		p, err := peek(fd, size)
		if err == unix.EINTR || err == unix.ECONNRESET {
			continue
		}
		if err != nil {
			return parcel{}, err
		}
		// It is here: now it may leave the queue, and the copies of its files with it.
		for {
			if _, _, err := unix.Recvfrom(fd, nil, 0); err != unix.EINTR && err != unix.ECONNRESET {
				return p, nil
			}
		}
	}
}

// peek copies the first record, which has size bytes, and its files.
func peek(fd, size int) (parcel, error) {
	b := make([]byte, size)
	rights := make([]byte, unix.CmsgSpace(4*MaxFiles))
	n, used, flags, _, err := unix.Recvmsg(fd, b, rights, unix.MSG_PEEK|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return parcel{}, err
	}
	p := parcel{bytes: b[:n]}
	fds, err := descriptors(rights[:used])
	for i, fd := range fds {
		if err != nil {
			unix.Close(fd)
			continue
		}
		var f *os.File
		if f, err = unpolled(fd, fmt.Sprintf("file %d of a record", i)); err == nil {
			p.files = append(p.files, f)
		}
	}
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrNoDescriptors, err)
	case flags&unix.MSG_CTRUNC != 0:
		err = fmt.Errorf("%w: only %d came", ErrNoDescriptors, len(p.files))
	default:
		return p, nil
	}
	for _, f := range p.files {
		f.Close()
	}
	return parcel{}, err
}

// descriptors returns all descriptors in a control message, even if it is damaged.
func descriptors(control []byte) (all []int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, e := unix.ParseUnixRights(&m)
		all = append(all, fds...)
		err = errors.Join(err, e)
	}
	return all, err
}

// waitError is what a wait that was ended says.
func waitError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return closedError("courier")
}

// SetSendDeadline ends waiting and future Sends at t; the zero time takes the
// deadline away.
func (c *Courier) SetSendDeadline(t time.Time) error {
	c.mu.Lock()
	c.sendBy = t
	c.mu.Unlock()
	if err := c.conn.file.SetWriteDeadline(t); err != nil {
		return closedError("courier")
	}
	return nil
}

// SetReceiveDeadline is the same for Receive.
func (c *Courier) SetReceiveDeadline(t time.Time) error { return c.conn.setReadDeadline(t) }

// Peer returns the kernel's word on who is at the other end; it is trusted.
func (c *Courier) Peer() (Peer, error) { return c.conn.Peer() }

// Close ends the connection and everything that waits for it. What was sent is
// still received at the other end.
func (c *Courier) Close() error { return c.conn.Close() }

// CourierListener accepts couriers at an address, and can be shared as a
// StreamListener can. Its methods are safe for concurrent use.
type CourierListener struct{ listener *Listener }

// ListenCourier listens at a, as Listen does.
func ListenCourier(a Address) (*CourierListener, error) {
	l, err := listenWith(packetSocket, a)
	if err != nil {
		return nil, err
	}
	return &CourierListener{l}, nil
}

// AdoptCourier goes on with the listener at a, as AdoptStream does.
func AdoptCourier(f *os.File, a Address) (*CourierListener, error) {
	l, err := adoptListener(f, a)
	if err != nil {
		return nil, err
	}
	return &CourierListener{l}, nil
}

// Accept waits for a connection; its errors are those of Listener.Accept, and
// ErrUntrusted when another user's process has come, which is sent away.
func (l *CourierListener) Accept() (*Courier, error) {
	conn, err := l.listener.Accept()
	if err != nil {
		return nil, err
	}
	c, err := newCourier(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connected at %q: %w", l.listener.address, err)
	}
	return c, nil
}

// File returns a descriptor of the listener for another process. The caller closes
// it.
func (l *CourierListener) File() (*os.File, error) { return l.listener.share() }

// Close ends the listening here and every Accept. The socket's file stays.
func (l *CourierListener) Close() error { return l.listener.Close() }

// withFds lends the descriptors of all files.
func withFds(files []*os.File, fds []int, use func([]int) error) error {
	if len(fds) == len(files) {
		return use(fds)
	}
	f := files[len(fds)]
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot send %s: %w", f.Name(), err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = withFds(files, append(fds, int(fd)), use) })
	if err != nil {
		return fmt.Errorf("cannot send %s: %w", f.Name(), os.ErrClosed)
	}
	return failed
}
