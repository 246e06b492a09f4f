//go:build unix

package proc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// completeExtension checks path; there are no extensions to add here.
func completeExtension(path string) (string, error) { return path, checkExecutable(path) }

// checkPermission asks for the effective user, as exec does.
func checkPermission(path string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%q is not executable by this user: chmod +x it, or name another: %w", path, err)
	}
	return nil
}
