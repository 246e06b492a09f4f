//go:build !unix && !windows

package pairdir

import (
	"fmt"
	"io/fs"
)

func checkPrivate(path string, _ fs.FileInfo) error {
	return fmt.Errorf("folder %s: owner unknown: %w", path, ErrNotSupported)
}

func defaultPath() (string, error) { return "", fmt.Errorf("default folder: %w", ErrNotSupported) }
