//go:build unix

package pairdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
)

// socketPatience is how long a just-forked child of a dead plain peer may keep
// its listening socket.
const socketPatience = time.Second

func (c *Claim) removeSocket() error {
	path := string(c.name.addr)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("socket %s: something else is there (%s); remove it or choose another name", path, info.Mode().Type())
	}
	// In the folder the name lock proves that nobody may listen there any more.
	if filepath.Dir(path) != c.dir.path && answers(path, socketPatience) {
		return &TakenError{Name: c.name.text, PID: listenerPID(path)}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("socket %s: stale, but cannot be removed: %w; remove it or choose another name", path, err)
	}
	return nil
}

// answers reports whether somebody listens at path and goes on doing so. It does
// not connect again and again to a living one: a connection that waits unread is
// reset as soon as the last descriptor of the listener is closed.
func answers(path string, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ctx.Err() == nil {
		conn, err := ipc.Dial(ctx, ipc.Address(path))
		if errors.Is(err, ipc.ErrAbsent) {
			return false
		}
		if err != nil {
			return true // its queue is full, or it belongs to another user
		}
		deadline, _ := ctx.Deadline()
		_ = conn.SetReadDeadline(deadline)
		n, err := conn.Read(make([]byte, 1))
		_ = conn.Close()
		if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}
