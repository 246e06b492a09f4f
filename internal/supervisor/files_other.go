//go:build !unix

package supervisor

import (
	"errors"
	"os"
	"syscall"
)

func duplicate(...*os.File) ([]*os.File, error) { return nil, errors.ErrUnsupported }

func openWriter(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }

func descriptorLimit() int { return 0 }

func extraSignal(string) syscall.Signal { return syscall.SIGTERM }
