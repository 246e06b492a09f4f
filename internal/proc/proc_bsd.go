//go:build darwin || freebsd

package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on: kqueue's EVFILT_PROC with NOTE_EXIT, for any process that this user
// can see; and on the kernel's start time of a process, in microseconds, which
// with the number tells processes apart: a number comes round again only after all
// others. Written by the book, not run.
//
// Why a number that is used again is not mistaken:
//   - A handle is opened by reading the start time, registering for the exit, and
//     reading the start time again. The kernel binds the registration to the process
//     that has the number at that moment, and two readings that agree say that one
//     process had the number all the time.
//   - An event says "the process of this number ended". Before it is believed, the
//     start time of who has the number now is compared: if the handle's process
//     lives, the event was that of an older registration, and is renewed.
//   - A signal goes by number, since there is nothing else. The start time is
//     compared right before it. A child is safe, as it is not reaped before its
//     handle knows; for others there remains the instant between the comparison and
//     the signal, in which the process would have to end, be reaped, and all other
//     numbers be used.

// reapPause is between two tries to reap a child.
const reapPause = 10 * time.Millisecond

// sysHandle is the part of a Handle on macOS and FreeBSD.
type sysHandle struct {
	mu     sync.RWMutex // a signal on its way keeps a child from being reaped
	closed bool
	child  bool // started by this handle, which therefore reaps it
}

// Self returns the ID of this process.
func Self() (ID, error) {
	id := ID{BootID: bootID(), PID: os.Getpid()}
	s, err := readState(id.PID)
	id.Start = s.start
	return id, err
}

// state is what the kernel tells of a process.
type state struct {
	start uint64 // microseconds since 1970
	dead  bool   // a zombie
}

// Open returns a handle on a process that need not be a child. ErrGone: there is
// none. A zombie is dead: its handle's Done is closed already. Close the handle
// when it is not needed any more.
func Open(pid int) (*Handle, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("process %d: not a process number", pid)
	}
	before, err := readState(pid)
	if err != nil {
		return nil, err
	}
	h := &Handle{id: ID{BootID: bootID(), PID: pid, Start: before.start}, done: make(chan struct{})}
	if before.dead {
		h.finish(ExitStatus{})
		return h, nil
	}
	err = deaths.add(h)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("process %d: %w", pid, ErrGone)
	case err != nil:
		return nil, fmt.Errorf("cannot watch process %d: kqueue: %w", pid, err)
	}
	after, err := readState(pid)
	if err == nil && after.start == before.start || h.isDone() {
		return h, nil
	}
	h.Close()
	return nil, fmt.Errorf("process %d: %w", pid, ErrGone)
}

// Reopen returns a handle on the process that id names, and on no other: ErrGone
// when it has ended, whoever has its number now.
func Reopen(id ID) (*Handle, error) {
	if id.PID <= 0 || id.Start == 0 || id.BootID != bootID() {
		return nil, fmt.Errorf("%v: %w", id, ErrGone)
	}
	h, err := Open(id.PID)
	if err != nil {
		return nil, err
	}
	if h.id != id {
		h.Close()
		return nil, fmt.Errorf("%v: %w (its number is used again)", id, ErrGone)
	}
	return h, nil
}

// FromPidfd returns ErrNotSupported: there are none here.
func FromPidfd(int) (*Handle, error) { return nil, fmt.Errorf("pidfds: %w", ErrNotSupported) }

// Start starts a process in a session of its own, with the null device as stdin.
// Its handle reaps it when it ends, even if it is closed or forgotten. When Start
// fails nothing runs.
func Start(s Spec) (*Handle, error) {
	if s.Cgroup != nil {
		return nil, noCgroups(s)
	}
	pid, err := fork(s, &syscall.SysProcAttr{Setsid: true})
	if err != nil {
		return nil, err
	}
	// Not reaped yet, unless the host program does that, so the number is its own.
	h := &Handle{id: ID{BootID: bootID(), PID: pid}, done: make(chan struct{})}
	h.sys.child = true
	if st, err := readState(pid); err == nil {
		h.id.Start = st.start
	}
	if deaths.add(h) != nil {
		go h.bury() // it runs, or has just ended: whatever is missing, it gets a handle
	}
	return h, nil
}

// died is called once, by the watcher, which has taken h out.
func (h *Handle) died(e ExitStatus) {
	if h.sys.child {
		go h.bury()
		return
	}
	h.finish(e)
}

// bury reaps a child and tells how it ended; unknown when the host program was
// faster. Without a registration it waits for the end as well.
func (h *Handle) bury() {
	var status unix.WaitStatus
	for {
		pid, err := h.reap(&status)
		switch {
		case err == unix.EINTR:
			continue
		case err == nil && pid == 0: // its end was told of before it can be waited for
			time.Sleep(reapPause)
			continue
		case err == nil:
			h.finish(statusOf(status))
		default:
			h.finish(ExitStatus{})
		}
		return
	}
}

// reap does not wait, so that signals, which it must not overtake, need not wait.
func (h *Handle) reap(status *unix.WaitStatus) (int, error) {
	h.sys.mu.Lock()
	defer h.sys.mu.Unlock()
	return unix.Wait4(h.id.PID, status, unix.WNOHANG, nil)
}

// statusOf translates a wait(2) status.
func statusOf(w unix.WaitStatus) ExitStatus {
	switch {
	case w.Exited():
		return ExitStatus{Known: true, Code: w.ExitStatus()}
	case w.Signaled():
		name := strings.TrimPrefix(unix.SignalName(w.Signal()), "SIG")
		if name == "" {
			name = strconv.Itoa(int(w.Signal()))
		}
		return ExitStatus{Known: true, Signal: name}
	}
	return ExitStatus{}
}

// signal sends s; ErrGone when the process is dead.
func (h *Handle) signal(s syscall.Signal) error {
	h.sys.mu.RLock()
	defer h.sys.mu.RUnlock()
	switch {
	case h.isDone():
		return fmt.Errorf("%v: %w", h.id, ErrGone)
	case h.sys.closed:
		return ErrClosed
	}
	if !h.sys.child {
		now, err := readState(h.id.PID)
		if err != nil {
			return err
		}
		if now.start != h.id.Start || now.dead {
			return fmt.Errorf("%v: %w", h.id, ErrGone)
		}
	}
	err := unix.Kill(h.id.PID, s)
	switch {
	case err == nil:
		return nil
	case err == unix.ESRCH:
		return fmt.Errorf("%v: %w", h.id, ErrGone)
	case err == unix.EPERM:
		return fmt.Errorf("may not signal %v: %w (it runs as another user)", h.id, err)
	}
	return fmt.Errorf("cannot signal %v: %w", h.id, err)
}

// Close gives the handle up. The process is left alone; Done will not be closed
// any more unless it is a child, which is still reaped when it ends.
func (h *Handle) Close() {
	h.sys.mu.Lock()
	first := !h.sys.closed
	h.sys.closed = true
	h.sys.mu.Unlock()
	if first && !h.sys.child {
		deaths.remove(h)
	}
}

// Nudge does nothing: the kernel tells of the death.
func (h *Handle) Nudge() {}

// Capabilities says, in words, what this system lacks and what is done instead.
func Capabilities() []string {
	return []string{"no handles for processes here: signals go by number, compared with the start time right before"}
}
