package ipc

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/without"
)

// Relies on unix(7): SO_PEERCRED names the process that connected, or that called
// listen(), as it was then; SO_PEERPIDFD (Linux 6.5) is a handle on that very
// process. Both stay valid after the process has ended.

func socket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func accept(fd int) (int, error) {
	conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return conn, err
}

func send(fd int, p []byte) (int, error) {
	return unix.SendmsgN(fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

func credentials(fd int) (uid, pid int, err error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, 0, err
	}
	return int(c.Uid), int(c.Pid), nil
}

// instant is a point in time on the clock of process start times: clock ticks
// since boot, suspended time included.
type instant uint64

// ticksPerSecond is USER_HZ, 100 on every architecture that Go knows.
const ticksPerSecond = 100

func now() instant {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return ^instant(0)
	}
	return instant(t.Nano() / (1e9 / ticksPerSecond))
}

func (p Peer) open() (*proc.Handle, error) {
	if without.Feature("peerpidfd") {
		return p.openByNumber()
	}
	var pidfd int
	var err error
	if p.conn.raw.Control(func(fd uintptr) { pidfd, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD) }) != nil {
		return nil, closedError("link")
	}
	switch {
	case err == nil:
		return proc.FromPidfd(pidfd)
	case err == unix.ENOPROTOOPT:
		return p.openByNumber()
	case err == unix.ESRCH, err == unix.EINVAL, err == unix.ENODATA: // how kernels before 6.16 say that it was reaped
		return nil, fmt.Errorf("%v: %w", p, proc.ErrGone)
	}
	return nil, fmt.Errorf("cannot open %v: SO_PEERPIDFD: %w", p, err)
}

// openByNumber opens the process that has the peer's number, unless it is younger
// than the connection or the connection has ended: then the number may be used
// again. What remains is a peer that ended before its connection was accepted
// while something else keeps its end open.
func (p Peer) openByNumber() (*proc.Handle, error) {
	if p.PID == 0 {
		return nil, errors.New("cannot open the peer: it is not visible from this PID namespace, run both in one container")
	}
	h, err := proc.Open(p.PID)
	if err != nil {
		return nil, err
	}
	ended := true
	if p.conn.raw.Control(func(fd uintptr) { ended = hungUp(int(fd)) }) != nil {
		h.Close()
		return nil, closedError("link")
	}
	if ended || h.ID().Start > uint64(p.conn.made) {
		h.Close()
		return nil, fmt.Errorf("%v: %w", p, proc.ErrGone)
	}
	return h, nil
}

func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	_, err := retry(func() (int, error) { return unix.Poll(fds, 0) })
	return err != nil || fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}
