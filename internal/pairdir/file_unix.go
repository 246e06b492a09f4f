//go:build unix

package pairdir

import (
	"os"
	"syscall"
)

// openNoWait keeps open from following a link or waiting for a pipe's writer.
const openNoWait = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// syncFolder makes renames in the folder outlive a power failure, as far as the
// file system can.
func syncFolder(path string) {
	if f, err := os.Open(path); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}

// openShared opens a file for reading that others may rename meanwhile.
func openShared(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|openNoWait, 0)
}

// keepRights gives the owner of a file back what an odd umask took from it: the next
// one who opens the file may be no root.
func keepRights(f *os.File) {
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o600 != 0o600 {
		_ = f.Chmod(0o600)
	}
}

func renameFile(from, to string) error { return os.Rename(from, to) }

func removeFile(path string) error { return os.Remove(path) }

// insist does the step: open files forbid nothing here.
func insist(step func() error) error { return step() }
