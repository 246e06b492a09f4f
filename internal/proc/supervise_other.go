//go:build !linux

package proc

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

// What supervisors need beyond Start is written for Linux alone yet: everything
// here says so.

func linuxOnly(what string) error {
	return fmt.Errorf("%s on %s: %w", what, runtime.GOOS, ErrNotSupported)
}

func noCgroups(s Spec) error {
	return fmt.Errorf("cannot start %q: %w: %w", s.Path, ErrCgroup, linuxOnly("cgroups"))
}

// LowerOOMScore returns ErrNotSupported.
func LowerOOMScore(int) error { return linuxOnly("an OOM score") }

// Dup returns ErrNotSupported.
func (h *Handle) Dup() (*os.File, error) { return nil, linuxOnly("a descriptor of a process") }

// FromFile returns ErrNotSupported, and closes the file.
func FromFile(f *os.File) (*Handle, error) {
	f.Close()
	return nil, linuxOnly("a descriptor of a process")
}

// LeadsSession returns ErrNotSupported.
func (h *Handle) LeadsSession() (bool, error) { return false, linuxOnly("asking for sessions") }

// Children returns ErrNotSupported.
func (h *Handle) Children() ([]ID, error) { return nil, linuxOnly("asking for children") }

// BirthPipe returns ErrNotSupported.
func BirthPipe() (read, write *os.File, err error) { return nil, nil, linuxOnly("a birth pipe") }

// AwaitBirths returns ErrNotSupported.
func AwaitBirths(context.Context, *os.File) error { return linuxOnly("a birth pipe") }

// FindMarked returns ErrNotSupported.
func FindMarked(variable, token string) ([]*Handle, error) {
	return nil, linuxOnly("looking for marked processes")
}

// FindAllMarked returns ErrNotSupported.
func FindAllMarked(variable, prefix string) (map[string][]*Handle, error) {
	return nil, linuxOnly("looking for marked processes")
}

// FindWriters returns ErrNotSupported.
func FindWriters(*os.File) ([]*Handle, error) { return nil, linuxOnly("looking for writers") }

// Cgroup is not to be had here.
type Cgroup struct{}

// MakeCgroup returns ErrNotSupported.
func MakeCgroup(group, name string) (*Cgroup, error) { return nil, linuxOnly("a cgroup") }

// OpenCgroup returns ErrNotSupported.
func OpenCgroup(path string) (*Cgroup, error) { return nil, linuxOnly("a cgroup") }

// Usage returns ErrNotSupported.
func (c *Cgroup) Usage() (time.Duration, error) { return 0, linuxOnly("a cgroup") }

// Spent says yes: there are no cgroups.
func (c *Cgroup) Spent() bool { return true }

// Reusable says no: there are no cgroups.
func (c *Cgroup) Reusable() bool { return false }

// Path returns nothing.
func (c *Cgroup) Path() string { return "" }

// Open returns ErrNotSupported.
func (c *Cgroup) Open() (*os.File, error) { return nil, linuxOnly("a cgroup") }

// Kill returns ErrNotSupported.
func (c *Cgroup) Kill() error { return linuxOnly("a cgroup") }

// Populated returns ErrNotSupported.
func (c *Cgroup) Populated() (bool, error) { return false, linuxOnly("a cgroup") }

// Remove returns ErrNotSupported.
func (c *Cgroup) Remove() error { return linuxOnly("a cgroup") }

// Tree is not to be had here.
type Tree struct{}

// OpenTree returns ErrNotSupported.
func OpenTree(main *Handle, group *Cgroup) (*Tree, error) { return nil, linuxOnly("a process tree") }

// OpenOrphans returns ErrNotSupported.
func OpenOrphans(main ID, group *Cgroup) (*Tree, error) { return nil, linuxOnly("a process tree") }

// Survey returns ErrNotSupported.
func (t *Tree) Survey() error { return linuxOnly("a process tree") }

// Known returns nothing.
func (t *Tree) Known() []ID { return nil }

// Remember does nothing: there are no trees.
func (t *Tree) Remember([]ID) {}

// Kill returns ErrNotSupported.
func (t *Tree) Kill() error { return linuxOnly("a process tree") }

// Alive says that nothing is known to be gone.
func (t *Tree) Alive() bool { return true }

// Unburied says no: there are no trees.
func (t *Tree) Unburied() bool { return false }

// Close does nothing: there are no trees.
func (t *Tree) Close() {}

// Forker is not to be had here.
type Forker struct{}

// NewForker returns ErrNotSupported.
func NewForker() (*Forker, error) { return nil, linuxOnly("a thread for starts") }

// Close does nothing.
func (f *Forker) Close() {}

// Hold returns ErrNotSupported.
func (f *Forker) Hold(*os.File) error { return linuxOnly("a thread for starts") }

// Start is the package's Start.
func (f *Forker) Start(s Spec) (*Handle, error) { return Start(s) }
