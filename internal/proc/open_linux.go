package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/without"
)

// Relies on: pidfd_send_signal (Linux 5.1), CLONE_PIDFD (5.2), pidfd_open (5.3);
// containers may forbid them (seccomp), then they count as missing.

// sysHandle is the Linux part of a Handle.
type sysHandle struct {
	mu     sync.RWMutex // guards pidfd and closed: a signal on its way keeps the number from being reused
	pidfd  int          // -1: none, because the kernel has none, or because it was given back
	closed bool
	child  bool   // started by this handle, which therefore reaps it
	token  uint64 // its name in the watcher
	kept   int    // trees that need pidfd beyond the death
	over   bool   // pidfd is given back as soon as none does

	// Without pidfds only:
	stop   chan struct{} // closed by Close
	nudged chan struct{} // has room for one Nudge
}

func newHandle(id ID, pidfd int, child bool) *Handle {
	h := &Handle{id: id, done: make(chan struct{})}
	h.sys.child = child
	h.sys.pidfd = pidfd
	if pidfd < 0 {
		h.sys.stop = make(chan struct{})
		h.sys.nudged = make(chan struct{}, 1)
	}
	return h
}

// pidfds reports why this process cannot use pidfds; nil when it can.
var pidfds = sync.OnceValue(func() error {
	if without.Feature("pidfd") {
		return errors.ErrUnsupported
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		return err
	}
	// As Go's own os package does: a kernel that answers ECHILD here knows P_PIDFD.
	if _, _, err := wait(unix.P_PIDFD, fd, unix.WNOHANG); err != syscall.ECHILD {
		return fmt.Errorf("waitid: %w", err)
	}
	return nil
})

// Open returns a handle on a process that need not be a child. ErrGone: there is
// none. A zombie is dead: its handle's Done is closed already. Close the handle
// when it is not needed any more.
func Open(pid int) (*Handle, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("process %d: not a process number", pid)
	}
	id, err := here()
	if err != nil {
		return nil, err
	}
	id.PID = pid
	if pidfds() != nil {
		return openByNumber(id)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == unix.ESRCH:
		return nil, fmt.Errorf("process %d: %w", pid, ErrGone)
	case err == unix.EINVAL, err == unix.ENOENT:
		return nil, fmt.Errorf("process %d: %w (the number is that of a thread)", pid, ErrGone)
	case err != nil:
		return nil, fmt.Errorf("cannot open process %d: pidfd_open: %w", pid, err)
	}
	return adopt(fd, id)
}

// Reopen returns a handle on the process that id names, and on no other: ErrGone
// when it has ended, whoever has its number now. An id of another PID namespace
// is ErrGone and ErrElsewhere.
func Reopen(id ID) (*Handle, error) {
	local, err := here()
	if err != nil {
		return nil, err
	}
	switch {
	case id.PID <= 0 || id.Start == 0 || id.BootID != local.BootID:
		return nil, fmt.Errorf("%v: %w", id, ErrGone)
	case id.PIDNamespace != local.PIDNamespace:
		return nil, fmt.Errorf("%v: %w: %w", id, ErrGone, ErrElsewhere)
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

// FromPidfd makes a handle of a pidfd, which it takes over even when it fails.
func FromPidfd(fd int) (*Handle, error) {
	id, err := here()
	if err == nil {
		id.PID, err = pidOf(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	if pidfds() != nil { // it came from elsewhere, but cannot be used here
		unix.Close(fd)
		return openByNumber(id)
	}
	return adopt(fd, id)
}

// pidOf returns the number that the process of a pidfd has in this namespace.
func pidOf(fd int) (int, error) {
	var buf [1024]byte
	b, err := readShort("/proc/self/fdinfo/"+strconv.Itoa(fd), buf[:])
	if err != nil {
		return 0, fmt.Errorf("cannot tell whose pidfd it is: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		value, ok := strings.CutPrefix(lines.Text(), "Pid:")
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(value))
		switch {
		case err != nil:
			return 0, fmt.Errorf("cannot tell whose pidfd it is: %w", err)
		case pid < 0:
			return 0, fmt.Errorf("the process of a pidfd: %w", ErrGone)
		case pid == 0:
			return 0, errors.New("the process of a pidfd is not visible from this PID namespace: run both in one container")
		}
		return pid, nil
	}
	return 0, fmt.Errorf("descriptor %d is not a pidfd", fd)
}

// adopt takes over the pidfd of a process that is not reaped by us.
func adopt(fd int, id ID) (*Handle, error) {
	unix.CloseOnExec(fd)
	start, err := startOf(fd, id.PID)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	id.Start = start
	h := newHandle(id, fd, false)
	if readable(fd) {
		h.died()
		return h, nil
	}
	if err := deaths.add(h); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return h, nil
}

// startOf reads the start time of the process of a pidfd. That the process still
// exists after the reading proves that it was read of this one, not of a later
// one with the same number. 0: it is of another user and /proc hides it.
func startOf(pidfd, pid int) (uint64, error) {
	s, err := readStat(pid)
	if err != nil && !errors.Is(err, ErrGone) {
		return 0, err
	}
	if exists := unix.PidfdSendSignal(pidfd, 0, nil, 0); exists == unix.ESRCH {
		return 0, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return s.start, nil
}

func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := retry(func() (int, error) { return unix.Poll(fds, 0) })
	return err == nil && n == 1
}

// signal sends s through the handle; ErrGone when the process is dead.
func (h *Handle) signal(s syscall.Signal) error {
	h.sys.mu.RLock()
	defer h.sys.mu.RUnlock()
	var err error
	switch {
	case h.isDone():
		err = unix.ESRCH
	case h.sys.closed:
		return ErrClosed
	case h.sys.pidfd >= 0:
		err = unix.PidfdSendSignal(h.sys.pidfd, s, nil, 0)
	default:
		err = h.signalByNumber(s)
	}
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
	if !first || h.sys.child {
		return
	}
	if h.sys.stop != nil {
		close(h.sys.stop)
		return
	}
	if deaths.remove(h) {
		h.release()
	}
}

// release gives the pidfd back. Only the one who took the handle out of the
// watcher calls it.
func (h *Handle) release() {
	h.sys.mu.Lock()
	defer h.sys.mu.Unlock()
	h.sys.over = true
	h.releaseUnlessKept()
}

// releaseUnlessKept is for release and letGo; mu is held.
func (h *Handle) releaseUnlessKept() {
	if h.sys.over && h.sys.kept == 0 && h.sys.pidfd >= 0 {
		unix.Close(h.sys.pidfd)
		h.sys.pidfd = -1
	}
}

// keep keeps the pidfd, if there is one, until letGo.
func (h *Handle) keep() {
	h.sys.mu.Lock()
	defer h.sys.mu.Unlock()
	h.sys.kept++
}

func (h *Handle) letGo() {
	h.sys.mu.Lock()
	defer h.sys.mu.Unlock()
	h.sys.kept--
	h.releaseUnlessKept()
}

// signalGroup sends s to the process group that the process leads, or led: EINVAL
// or ErrUnsupported where that cannot be done by handle, ESRCH: it has no members.
func (h *Handle) signalGroup(s syscall.Signal) error {
	h.sys.mu.RLock()
	defer h.sys.mu.RUnlock()
	if h.sys.pidfd < 0 {
		return errors.ErrUnsupported
	}
	return unix.PidfdSendSignal(h.sys.pidfd, s, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
}

// Nudge says that the process is expected to die about now, because its links
// ended: look now, and often for a second. Nothing to do where the kernel tells.
func (h *Handle) Nudge() {
	if h.sys.nudged == nil {
		return
	}
	select {
	case h.sys.nudged <- struct{}{}:
	default: // one is waiting already
	}
}

// Capabilities says, in words, what this kernel lacks and what is done instead.
// It is empty when everything is there.
func Capabilities() []string {
	var missing []string
	if err := pidfds(); err != nil {
		missing = append(missing, fmt.Sprintf("no pidfds (%v; Linux 5.4 has them, containers may forbid them): "+
			"processes are told apart by start time and looked at every %v, or waited for when they are children", err, lookEvery))
	}
	if !peerPidfds() {
		missing = append(missing, "no SO_PEERPIDFD (Linux 6.5 has it): "+
			"the process at the other end of a link is told by its number and start time")
	}
	return missing
}

func peerPidfds() bool {
	if without.Feature("peerpidfd") {
		return false
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	fd, err := unix.GetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
