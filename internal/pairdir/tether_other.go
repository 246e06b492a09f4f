//go:build !linux

package pairdir

import (
	"runtime"
	"time"
)

const tetherRetry = 0

// tether does not exist here: there are no abstract sockets.
type tether struct{}

func holdTether(_, _ string, _ time.Duration) (*tether, string, error) {
	if runtime.GOOS == "windows" {
		return nil, "", nil // nobody can remove a lock file that is held
	}
	return nil, lockFileAlone, nil
}

func tetherHolder(_, _ string) (held bool, pid int) { return false, 0 }

func (t *tether) intact() bool { return true }

func (t *tether) release() {}
