package pairdir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/without"
)

// An abstract unix socket (unix(7), Linux 2.2) exists as long as some process has
// a descriptor of it and cannot be removed. Anybody may bind any name, so whom a
// name belongs to is asked from the kernel: SO_PEERCRED of a connection names
// the user and process that called listen(). It belongs to one network namespace.

const (
	// tetherRetry is how long a just-forked child of the dead holder may keep its
	// socket until its exec closes it.
	tetherRetry = time.Second
	// tetherPause is the longest wait between two tries.
	tetherPause = 20 * time.Millisecond
	// drainBurst and drainPause bound what somebody who connects in a loop can cost.
	drainBurst = 64
	drainPause = 100 * time.Millisecond
	// tetherBacklog is how many may ask at once.
	tetherBacklog = 4096
)

// tether is the abstract socket of a held name. It is a file of the Go poller and
// not of package net, which would bring its resolver into every guarded process.
type tether struct {
	file *os.File
	raw  syscall.RawConn
	name string
	quit chan struct{}
	done chan struct{} // closed when drain has ended
}

// tetherName depends on user, folder and name. The folder counts by path and file
// system: its inode is another one when it was removed and made again, and the
// path alone is shared by containers that share a network namespace.
func tetherName(folder, key string) string {
	var stat unix.Stat_t
	for at := folder; unix.Stat(at, &stat) != nil && at != "/"; {
		at = filepath.Dir(at) // where the folder was, and will be made again
	}
	sum := sha256.Sum256([]byte(strconv.FormatUint(uint64(stat.Dev), 10) + "\x00" + folder + "\x00" + key))
	return "@pairguard/" + strconv.Itoa(os.Geteuid()) + "/" + hex.EncodeToString(sum[:16])
}

// holdTether binds the abstract socket of a name whose lock file is ours. It
// waits up to patience for a former holder's child: one that is about to exec has
// closed it by then, another one may keep it for good. *heldError: a process of
// this user listens there; it lost its lock file and still is the holder. When
// somebody else is in the way it gives up (nil, with a note saying why).
func holdTether(folder, key string, patience time.Duration) (*tether, string, error) {
	if without.Feature("abstract") {
		return nil, lockFileAlone, nil
	}
	name := tetherName(folder, key)
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, tetherPause) {
		t, err := listenAt(name)
		if err == nil {
			return t, "", nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Sprintf("abstract socket: %v; the name is held by its lock file alone", err), nil
		}
		if time.Now().After(deadline) {
			return nameHolder(name)
		}
		time.Sleep(pause)
	}
}

// nameHolder asks once who has the socket that could not be had.
func nameHolder(name string) (*tether, string, error) {
	cred, err := listenerOf(name)
	switch {
	case err != nil:
		return nil, fmt.Sprintf("abstract socket: in use by somebody who does not answer (%v); "+
			"the name is held by its lock file alone; look for \"%s\" in: ss -xlp", err, name), nil
	case int(cred.Uid) != os.Geteuid():
		return nil, fmt.Sprintf("abstract socket: in use by process %d of user %d; "+
			"the name is held by its lock file alone; end that process", cred.Pid, cred.Uid), nil
	case cred.Pid > 0 && dead(int(cred.Pid)):
		return nil, fmt.Sprintf("abstract socket: kept by a child that process %d forked before it died; "+
			"the name is held by its lock file alone until that child ends; look for \"%s\" in: ss -xlp", cred.Pid, name), nil
	}
	return nil, "", &heldError{pid: int(cred.Pid)}
}

// tetherHolder reports a process of this user that holds the abstract socket.
func tetherHolder(folder, key string) (held bool, pid int) {
	if without.Feature("abstract") {
		return false, 0
	}
	cred, err := listenerOf(tetherName(folder, key))
	if err != nil || int(cred.Uid) != os.Geteuid() {
		return false, 0
	}
	pid = int(cred.Pid)
	if pid > 0 && dead(pid) {
		return false, 0 // a child of it has the socket
	}
	return true, pid
}

// dead: there is no such process, or nobody has reaped it yet.
func dead(pid int) bool {
	h, err := proc.Open(pid)
	if err != nil {
		return errors.Is(err, proc.ErrGone)
	}
	defer h.Close()
	select {
	case <-h.Done():
		return true
	default:
		return false
	}
}

// listenerOf connects, without waiting, and returns who listens. It uses a bare
// socket because Go's own connect waits where the queue is full.
func listenerOf(name string) (*unix.Ucred, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		return nil, err
	}
	return unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
}

// listenAt binds the name and listens, so that whoever comes can ask who does.
func listenAt(name string) (*tether, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err == nil {
		err = unix.Listen(fd, tetherBacklog)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	t := &tether{file: file, raw: raw, name: name, quit: make(chan struct{}), done: make(chan struct{})}
	go t.drain()
	return t, nil
}

// drain hangs up on whoever asks who listens, so that the queue does not fill.
func (t *tether) drain() {
	defer close(t.done)
	for n := 1; ; n++ {
		err := t.hangUp()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err == nil && n%drainBurst != 0 {
			continue
		}
		select {
		case <-t.quit:
			return
		case <-time.After(drainPause):
		}
	}
}

// hangUp waits for one connection and closes it.
func (t *tether) hangUp() error {
	var conn int
	var err error
	closed := t.raw.Read(func(fd uintptr) bool {
		conn, err = retryEINTR(func() (int, error) {
			conn, _, err := unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return conn, err
		})
		return err != unix.EAGAIN && err != unix.ECONNABORTED
	})
	if closed != nil {
		return os.ErrClosed
	}
	if err != nil {
		return err
	}
	return unix.Close(conn)
}

// intact reports whether the descriptor still is that socket.
func (t *tether) intact() bool {
	same := false
	err := t.raw.Control(func(fd uintptr) {
		sa, err := unix.Getsockname(int(fd))
		addr, ok := sa.(*unix.SockaddrUnix)
		same = err == nil && ok && addr.Name == t.name
	})
	return err == nil && same
}

func (t *tether) release() {
	if t == nil {
		return
	}
	close(t.quit)
	_ = t.file.Close()
	<-t.done
}
