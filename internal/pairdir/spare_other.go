//go:build !linux

package pairdir

import (
	"errors"
	"os"
)

// openSpare returns an error: files cannot be exchanged here.
func openSpare(string) (*os.File, error) { return nil, errors.ErrUnsupported }
