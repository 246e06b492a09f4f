//go:build unix

package ipc

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// newAddress is short enough for a socket wherever the temporary folder lies.
func newAddress(t *testing.T) Address {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Address(filepath.Join(dir, "名 a"))
}

// shrink makes the kernel's buffer so small that it takes parts of what is sent.
func shrink(c *Conn) error {
	var err error
	if failed := c.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1) }); failed != nil {
		return failed
	}
	return err
}

// drain does nothing: what Send took the kernel has.
func drain(*testing.T, *Conn) {}
