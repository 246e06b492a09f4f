package pairdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard/internal/proc"
)

// Relies on: LockFileEx, whose lock the system frees when the process ends, and
// whose range may lie beyond the end of the file, so that the bytes before it
// can be read by everybody; and on a file that is open without FILE_SHARE_DELETE
// not being removed, renamed or replaced, nor the folder that it is in.
//
// Who holds the lock the system does not tell. So the holder writes its ID into
// the file after it has taken the lock, and takes it out before it lets go: the ID
// of a process that lives, read at any time, is that of the holder at that time.
// The ID of a dead one means nothing.

const (
	// lockOffset is where the locked byte lies, far beyond the ID.
	lockOffset = 1 << 30
	// probePatience outlasts a Holder call elsewhere, which takes the lock shared,
	// and the moment in which the system frees the lock of a dead process.
	probePatience = 200 * time.Millisecond
	probePause    = 5 * time.Millisecond
	// writePatience is how long a new holder may take to write its ID.
	writePatience = 100 * time.Millisecond
	maxLockFile   = 512
)

type fileLock struct {
	path string
	file *os.File
}

func lockFile(path string) (*fileLock, error) {
	file, err := openLock(path, windows.OPEN_ALWAYS)
	if err != nil {
		return nil, fmt.Errorf("lock file %s: %w; remove it", path, err)
	}
	err = tryLockFor(file, probePatience)
	if err == nil {
		l := &fileLock{path: path, file: file}
		if err = l.sign(); err == nil {
			return l, nil
		}
		l.release()
		return nil, fmt.Errorf("lock file %s: cannot be written: %w; make room on the disk", path, err)
	}
	defer file.Close()
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return nil, &heldError{pid: signedBy(file)}
	}
	return nil, fmt.Errorf("lock file %s: cannot be locked: %w; choose a folder on a local disk", path, err)
}

func openLock(path string, disposition uint32) (*os.File, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(p, windows.GENERIC_READ|windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, disposition,
		windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), path), nil
}

func tryLockFor(file *os.File, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(probePause) {
		err := tryLock(file, windows.LOCKFILE_EXCLUSIVE_LOCK)
		if !errors.Is(err, windows.ERROR_LOCK_VIOLATION) || time.Now().After(deadline) {
			return err
		}
		if signedBy(file) != 0 {
			return err // it lives: waiting is of no use
		}
	}
}

func tryLock(file *os.File, flags uint32) error {
	return windows.LockFileEx(windows.Handle(file.Fd()), flags|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&windows.Overlapped{Offset: lockOffset})
}

// sign writes the ID of this process; the lock is held.
func (l *fileLock) sign() error {
	self, err := proc.Self()
	if err != nil {
		return err
	}
	b, err := json.Marshal(self)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(b, 0)
	return err
}

// signedBy returns the number of the process that holds the lock; 0: it has not
// said so yet, or is dead.
func signedBy(file *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(file, 0, maxLockFile))
	var id proc.ID
	if err != nil || json.Unmarshal(b, &id) != nil {
		return 0
	}
	if !living(id) {
		return 0
	}
	return id.PID
}

// living reports whether the process is there. One that cannot be opened may be.
func living(id proc.ID) bool {
	h, err := proc.Reopen(id)
	if err != nil {
		return id.PID > 0 && !errors.Is(err, proc.ErrGone)
	}
	defer h.Close()
	select {
	case <-h.Done():
		return false
	default:
		return true
	}
}

func holderOf(path string) (held bool, pid int, err error) {
	file, err := openLock(path, windows.OPEN_EXISTING)
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) || errors.Is(err, windows.ERROR_PATH_NOT_FOUND) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("lock file %s: %w; remove it", path, err)
	}
	defer file.Close() // drops the shared lock, too
	for deadline := time.Now().Add(writePatience); ; time.Sleep(probePause) {
		if pid := signedBy(file); pid != 0 {
			return true, pid, nil
		}
		err = tryLock(file, 0)
		if !errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
			return false, 0, err
		}
		if time.Now().After(deadline) {
			return true, 0, nil
		}
	}
}

// inPlace: an open file cannot be removed or replaced.
func (l *fileLock) inPlace() bool { return true }

func (l *fileLock) again() error { return nil }

func (l *fileLock) release() {
	_ = l.file.Truncate(0)
	_ = l.file.Close()
}
