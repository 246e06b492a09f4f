//go:build !linux && !darwin && !freebsd && !windows

package pairdir

import "fmt"

type fileLock struct{ path string }

func lockFile(path string) (*fileLock, error) {
	return nil, fmt.Errorf("lock file %s: %w", path, ErrNotSupported)
}

func holderOf(path string) (held bool, pid int, err error) {
	return false, 0, fmt.Errorf("lock file %s: %w", path, ErrNotSupported)
}

func (l *fileLock) inPlace() bool { return false }

func (l *fileLock) again() error { return ErrNotSupported }

func (l *fileLock) release() {}
