//go:build darwin || freebsd

package ipc

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/proc"
)

// instant is in microseconds since 1970, as start times are told here.
type instant uint64

func now() instant { return instant(time.Now().UnixMicro()) }

// open opens the process that has the peer's number, unless it is younger than the
// connection or the connection has ended: then the number may be used again. What
// remains is a peer that ended before its connection was accepted while something
// else keeps its end open, and a clock that was set back.
func (p Peer) open() (*proc.Handle, error) {
	if p.PID == 0 {
		return nil, fmt.Errorf("the process at the other end: %w", ErrNotSupported)
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
	for {
		_, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return err != nil || fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	}
}
