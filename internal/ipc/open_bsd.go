//go:build darwin || freebsd

package ipc

import (
	"fmt"

	"github.com/pairguard/pairguard/internal/proc"
)

// instant is not needed until processes can be watched here.
type instant struct{}

func now() instant { return instant{} }

func (p Peer) open() (*proc.Handle, error) {
	if p.PID == 0 {
		return nil, fmt.Errorf("the process at the other end: %w", ErrNotSupported)
	}
	return proc.Open(p.PID)
}
