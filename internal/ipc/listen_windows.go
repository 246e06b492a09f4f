package ipc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Relies on: FILE_CREATE, which fails when a pipe of that name exists, in whatever
// state its instances are (wine ignores FILE_FLAG_FIRST_PIPE_INSTANCE, not this);
// an access list that holds for all instances; FILE_PIPE_REJECT_REMOTE_CLIENTS.
//
// A pipe's name lives as long as any handle to any of its instances, also that of
// a client whose server has died. A client that hangs would so keep a new holder
// of the name from listening, who alone could end it. So after joinPatience a pipe
// that nobody serves is joined, provided that it belongs to this user: what may be
// done to it is what this user's process decided when it made it.

const (
	// backlog is how many clients can connect between two Accepts.
	backlog = 4
	// joinPatience is how long the pipe of a dead process may take to go away.
	joinPatience = time.Second
)

// Listener accepts connections at an address. Its methods are safe for concurrent
// use.
type Listener struct {
	address Address
	once    sync.Once      // Close
	closing windows.Handle // an event, set once

	mu     sync.Mutex // guards what follows; held while Accept waits
	free   [backlog]*instance
	closed bool // closing is no more
}

// instance is one end of the pipe that waits for a client.
type instance struct {
	pipe  windows.Handle
	event windows.Handle // set when a client has come
	wait  windows.Overlapped
	came  bool // before we waited: then wait means nothing
}

// Listen listens at a. Only the user of this process and SYSTEM can connect. It
// takes up to a second when the pipe of a dead process is still around.
func Listen(a Address) (*Listener, error) {
	if err := check(a); err != nil {
		return nil, err
	}
	first, err := firstInstance(a)
	if err != nil {
		return nil, fmt.Errorf(`cannot listen at "%s": %w`, a, err)
	}
	closing, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		first.close()
		return nil, fmt.Errorf(`cannot listen at "%s": %w`, a, err)
	}
	l := &Listener{address: a, closing: closing}
	l.free[0] = first
	if err := l.fill(); err != nil {
		l.Close()
		return nil, fmt.Errorf(`cannot listen at "%s": %w`, a, err)
	}
	return l, nil
}

// firstInstance makes the pipe; that of a live process is left alone.
func firstInstance(a Address) (*instance, error) {
	for deadline := time.Now().Add(joinPatience); ; time.Sleep(dialPause) {
		i, err := newInstance(a, windows.FILE_CREATE)
		if err == nil || !isTaken(err) {
			return i, err
		}
		if pid, served := server(a); served {
			return nil, fmt.Errorf("process %d listens there: end it or choose another name", pid)
		}
		if time.Now().After(deadline) {
			return join(a)
		}
	}
}

func isTaken(err error) bool {
	for _, status := range []windows.NTStatus{
		windows.STATUS_ACCESS_DENIED, windows.STATUS_INSTANCE_NOT_AVAILABLE, windows.STATUS_PIPE_BUSY, windows.STATUS_OBJECT_NAME_COLLISION,
	} {
		if errors.Is(err, status) {
			return true
		}
	}
	return false
}

// server says which process serves the pipe, by connecting to it.
func server(a Address) (pid uint32, served bool) {
	pipe, err := openPipe(a)
	if err != nil {
		return 0, false
	}
	defer windows.CloseHandle(pipe)
	_ = windows.GetNamedPipeServerProcessId(pipe, &pid)
	return pid, true
}

// join adds an instance to a pipe whose server is dead.
func join(a Address) (*instance, error) {
	i, err := newInstance(a, windows.FILE_OPEN)
	if err != nil {
		return nil, fmt.Errorf("another process uses the name: %w", err)
	}
	sd, err := windows.GetSecurityInfo(i.pipe, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err == nil {
		var owner, own *windows.SID
		if owner, _, err = sd.Owner(); err == nil {
			own, err = userOf(windows.CurrentProcess())
		}
		if err == nil && !owner.Equals(own) {
			err = fmt.Errorf("user %s has taken the name: choose another", owner)
		}
	}
	if err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

// newInstance makes one instance and begins to wait for its client.
func newInstance(a Address, disposition uint32) (*instance, error) {
	own, err := userOf(windows.CurrentProcess())
	if err != nil {
		return nil, fmt.Errorf("own user: %w", err)
	}
	return newInstanceOf(a, disposition, own.String())
}

func newInstanceOf(a Address, disposition uint32, user string) (*instance, error) {
	sd, err := windows.SecurityDescriptorFromString(fmt.Sprintf("O:%[1]sD:P(A;;GA;;;%[1]s)(A;;GA;;;SY)", user))
	if err != nil {
		return nil, err
	}
	name, err := windows.NewNTUnicodeString(`\??\pipe\` + string(a[len(pipePrefix):]))
	if err != nil {
		return nil, err
	}
	attributes := windows.OBJECT_ATTRIBUTES{ObjectName: name, Attributes: windows.OBJ_CASE_INSENSITIVE, SecurityDescriptor: sd}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	timeout := int64(-50 * 10000) // of WaitNamedPipe, in 100 ns: 50 ms, the system's own default
	i := &instance{}
	err = windows.NtCreateNamedPipeFile(&i.pipe, windows.GENERIC_READ|windows.GENERIC_WRITE|windows.SYNCHRONIZE, &attributes,
		new(windows.IO_STATUS_BLOCK), windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, disposition, 0,
		windows.FILE_PIPE_BYTE_STREAM_TYPE|windows.FILE_PIPE_REJECT_REMOTE_CLIENTS, windows.FILE_PIPE_BYTE_STREAM_MODE,
		windows.FILE_PIPE_QUEUE_OPERATION, ^uint32(0), pipeBuffer, pipeBuffer, &timeout)
	if err != nil {
		return nil, err
	}
	if i.event, err = windows.CreateEvent(nil, 1, 0, nil); err == nil {
		err = i.listen()
	}
	if err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

// listen begins to wait for a client.
func (i *instance) listen() error {
	i.wait = windows.Overlapped{HEvent: i.event}
	err := windows.ConnectNamedPipe(i.pipe, &i.wait)
	switch {
	case errors.Is(err, windows.ERROR_IO_PENDING):
		return nil
	case err == nil, errors.Is(err, windows.ERROR_PIPE_CONNECTED), errors.Is(err, windows.ERROR_NO_DATA):
		i.came = true
		return windows.SetEvent(i.event)
	}
	return err
}

// close gives the instance up. The system must be done with wait before that.
func (i *instance) close() {
	if !i.came && windows.CancelIoEx(i.pipe, &i.wait) == nil {
		var n uint32
		_ = windows.GetOverlappedResult(i.pipe, &i.wait, &n, true)
	}
	_ = windows.CloseHandle(i.pipe)
	if i.event != 0 {
		_ = windows.CloseHandle(i.event)
	}
}

// fill makes the instances that are missing; mu is held, or l not yet shared. An
// error means that there is none at all.
func (l *Listener) fill() error {
	var err error
	waiting := 0
	for n := range l.free {
		if l.free[n] == nil {
			if l.free[n], err = newInstance(l.address, windows.FILE_OPEN); err != nil {
				l.free[n] = nil
				continue
			}
		}
		waiting++
	}
	if waiting > 0 {
		return nil
	}
	return err
}

// Accept waits for a connection. os.ErrClosed: the listener was closed. After any
// other error the listener is as good as before: try again after a pause.
func (l *Listener) Accept() (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.closed {
			return nil, fmt.Errorf(`cannot accept at "%s": %w`, l.address, os.ErrClosed)
		}
		if err := l.fill(); err != nil {
			return nil, fmt.Errorf(`cannot accept at "%s": %w`, l.address, err)
		}
		events, owners := []windows.Handle{l.closing}, []int{-1}
		for n, i := range l.free {
			if i != nil {
				events, owners = append(events, i.event), append(owners, n)
			}
		}
		which, err := windows.WaitForMultipleObjects(events, false, windows.INFINITE)
		if err != nil {
			return nil, fmt.Errorf(`cannot accept at "%s": %w`, l.address, err)
		}
		n := owners[which-windows.WAIT_OBJECT_0]
		if n < 0 {
			return nil, fmt.Errorf(`cannot accept at "%s": %w`, l.address, os.ErrClosed)
		}
		if c := l.take(n); c != nil {
			return c, nil
		}
	}
}

// take makes a connection of an instance and replaces it; nil: the client has gone
// already.
func (l *Listener) take(n int) *Conn {
	i := l.free[n]
	l.free[n] = nil
	defer func() { _ = l.fill() }() // or the next Accept says what is wrong
	var transferred uint32
	if err := windows.GetOverlappedResult(i.pipe, &i.wait, &transferred, false); err != nil && !i.came {
		i.close()
		return nil
	}
	_ = windows.CloseHandle(i.event)
	return &Conn{stream: newStream(i.pipe, l.address, true)}
}

// Close ends the listening and every Accept.
func (l *Listener) Close() error {
	err := closedError("listener")
	l.once.Do(func() {
		err = windows.SetEvent(l.closing)
		l.mu.Lock() // no Accept waits any more
		defer l.mu.Unlock()
		for n, i := range l.free {
			if i != nil {
				i.close()
				l.free[n] = nil
			}
		}
		l.closed = true
		_ = windows.CloseHandle(l.closing)
	})
	return err
}
