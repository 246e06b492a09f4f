package pairdir

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Relies on flock(2), and on RENAME_EXCHANGE (exchange_linux.go).

// openSpare opens the spare file of a record for this writer alone, and makes it when
// there is none. Another writer is one that lost its lock, or that hangs in a call: it
// has the file that it has opened, which may be the record itself by now.
func openSpare(path string) (*os.File, error) {
	// Package os would offer it to its poller first, each time.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another process writes it: %w", err)
	}
	mine, err := f.Stat()
	if err == nil {
		var now os.FileInfo
		if now, err = os.Lstat(path); err == nil && !(os.SameFile(mine, now) && mine.Mode().IsRegular()) {
			err = errors.New("it has just become the record")
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if mine.Size() == 0 {
		keepRights(f)
	}
	return f, nil
}
