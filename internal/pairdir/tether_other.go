//go:build !linux

package pairdir

import "time"

const tetherRetry = 0

// tether does not exist here: there are no abstract sockets.
type tether struct{}

func holdTether(_, _ string, _ time.Duration) (*tether, string, error) {
	return nil, lockFileAlone, nil
}

func tetherHolder(_, _ string) (held bool, pid int) { return false, 0 }

func (t *tether) intact() bool { return true }

func (t *tether) release() {}
