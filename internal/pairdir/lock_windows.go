package pairdir

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows"
)

// LockFileEx on a file that is open without FILE_SHARE_DELETE: it cannot be
// removed while it is held. The lock is freed when the process ends. Who holds it
// is not visible.

// probePatience outlasts a Holder call elsewhere, which takes the lock shared.
const probePatience = 100 * time.Millisecond

type fileLock struct {
	path   string
	handle windows.Handle
}

func lockFile(path string) (*fileLock, error) {
	h, err := openLock(path, windows.OPEN_ALWAYS)
	if err != nil {
		return nil, fmt.Errorf("lock file %s: %w; remove it", path, err)
	}
	deadline := time.Now().Add(probePatience)
	for {
		err = tryLock(h, windows.LOCKFILE_EXCLUSIVE_LOCK)
		if err == nil {
			return &fileLock{path: path, handle: h}, nil
		}
		if !errors.Is(err, windows.ERROR_LOCK_VIOLATION) || time.Now().After(deadline) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = windows.CloseHandle(h)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return nil, &heldError{}
	}
	return nil, fmt.Errorf("lock file %s: cannot be locked: %w; choose a folder on a local disk", path, err)
}

func openLock(path string, disposition uint32) (windows.Handle, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return windows.InvalidHandle, err
	}
	return windows.CreateFile(p, windows.GENERIC_READ|windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, disposition,
		windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
}

func tryLock(h windows.Handle, flags uint32) error {
	return windows.LockFileEx(h, flags|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
}

func holderOf(path string) (held bool, pid int, err error) {
	h, err := openLock(path, windows.OPEN_EXISTING)
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) || errors.Is(err, windows.ERROR_PATH_NOT_FOUND) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("lock file %s: %w; remove it", path, err)
	}
	defer windows.CloseHandle(h) // drops the shared lock, too
	err = tryLock(h, 0)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return true, 0, nil
	}
	return false, 0, err
}

// inPlace: an open file cannot be removed or replaced.
func (l *fileLock) inPlace() bool { return true }

func (l *fileLock) again() error { return nil }

func (l *fileLock) release() { _ = windows.CloseHandle(l.handle) }
