//go:build linux || darwin || freebsd

package pairdir

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A classic POSIX record lock (fcntl F_SETLK): it belongs to the process, not to
// the descriptor, so that a forked child cannot keep it, it is free at death, and
// F_GETLK names its holder. The price: closing any descriptor of the file drops
// it (fcntl(2), "Advisory record locking"). So each file is opened once.

// inode tells files apart whatever paths lead to them.
type inode struct{ dev, ino uint64 }

// lockedFiles are the files that this process has locks on. Its mutex is held
// from the look whether a file may be opened until it is locked or closed again.
var lockedFiles = struct {
	sync.Mutex
	set map[inode]bool
}{set: make(map[inode]bool)}

// fileLock is a locked file. fd is a bare number: nothing may close it but
// release, not even the garbage collector.
type fileLock struct {
	path string
	fd   int
	file inode
}

// lockFile locks the file at path, making it if there is none. *heldError when
// somebody has the lock.
func lockFile(path string) (*fileLock, error) {
	lockedFiles.Lock()
	defer lockedFiles.Unlock()
	fd, file, err := openLock(path, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	if err := setLock(path, fd); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	lockedFiles.set[file] = true
	return &fileLock{path: path, fd: fd, file: file}, nil
}

// openLock opens a lock file that this process has no lock on.
func openLock(path string, flags int) (int, inode, error) {
	if file, err := fileAt(path); err == nil && lockedFiles.set[file] {
		return -1, inode{}, &heldError{pid: os.Getpid()}
	}
	fd, err := retryEINTR(func() (int, error) {
		return unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	})
	if err != nil {
		return -1, inode{}, fmt.Errorf("lock file %s: %w%s", path, err, remedy(err))
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		_ = unix.Close(fd)
		return -1, inode{}, fmt.Errorf("lock file %s: %w", path, err)
	}
	file := inodeOf(&stat)
	if lockedFiles.set[file] {
		// Somebody moved a file that we hold here since we looked. The descriptor is
		// leaked on purpose: closing it would drop our lock.
		return -1, inode{}, &heldError{pid: os.Getpid()}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return -1, inode{}, fmt.Errorf("lock file %s: is not a regular file; remove it", path)
	}
	if flags&unix.O_CREAT != 0 && stat.Mode&0o600 != 0o600 {
		_ = unix.Fchmod(fd, 0o600) // an odd umask, which would keep the next one out
	}
	return fd, file, nil
}

func remedy(err error) string {
	switch {
	case errors.Is(err, unix.ELOOP):
		return "; it is a symbolic link; remove it"
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENXIO):
		return "; remove it"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "; raise the limit of open files"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "; make room on the disk"
	}
	return ""
}

// setLock takes the lock, or names who has it.
func setLock(path string, fd int) error {
	for range claimTries {
		want := unix.Flock_t{Type: unix.F_WRLCK}
		_, err := retryEINTR(func() (int, error) { return 0, unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &want) })
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("lock file %s: cannot be locked: %w; choose a folder on another file system", path, err)
		}
		held, pid, err := getLock(path, fd)
		if err != nil {
			return err
		}
		if held {
			return &heldError{pid: pid}
		}
	}
	return &heldError{} // changes hands faster than it can be asked about
}

// getLock asks who has the lock. The kernel reports 0 or -1 for a process that
// this one cannot see.
func getLock(path string, fd int) (held bool, pid int, err error) {
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	_, err = retryEINTR(func() (int, error) { return 0, unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &ask) })
	if err != nil {
		return false, 0, fmt.Errorf("lock file %s: cannot be asked for its holder: %w", path, err)
	}
	return ask.Type != unix.F_UNLCK, max(int(ask.Pid), 0), nil
}

// holderOf asks who has the lock of the file at path. The caller makes sure that
// this process does not claim it meanwhile.
func holderOf(path string) (held bool, pid int, err error) {
	lockedFiles.Lock()
	defer lockedFiles.Unlock()
	fd, _, err := openLock(path, unix.O_RDONLY)
	var here *heldError
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, 0, nil
	case errors.As(err, &here):
		return true, here.pid, nil
	case err != nil:
		return false, 0, err
	}
	defer unix.Close(fd)
	return getLock(path, fd)
}

// inPlace reports whether the path still leads to the locked file.
func (l *fileLock) inPlace() bool {
	file, err := fileAt(l.path)
	return err == nil && file == l.file
}

// again takes the lock once more: nothing happens when it is still there, and it
// is back when other code of this process opened and closed the file.
func (l *fileLock) again() error { return setLock(l.path, l.fd) }

func (l *fileLock) release() {
	lockedFiles.Lock()
	defer lockedFiles.Unlock()
	delete(lockedFiles.set, l.file)
	_ = unix.Close(l.fd)
}

func fileAt(path string) (inode, error) {
	var stat unix.Stat_t
	_, err := retryEINTR(func() (int, error) { return 0, unix.Lstat(path, &stat) })
	return inodeOf(&stat), err
}

func inodeOf(stat *unix.Stat_t) inode { return inode{uint64(stat.Dev), uint64(stat.Ino)} }

func retryEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
