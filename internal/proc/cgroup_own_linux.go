package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on cgroup-v2.rst: cgroup.kill (Linux 5.14), cgroup.events, cgroup.type,
// usage_usec of cpu.stat, which needs no controller,
// and clone3 (5.3; containers may forbid it) to be born in a cgroup. A cgroup is
// unpopulated when the last process in it, or below it, has given back its memory
// and files; it need not be reaped.

// Cgroup is a cgroup v2 of its own for one program. It costs no descriptor. Its
// methods are safe for concurrent use.
type Cgroup struct {
	path  string
	spent atomic.Bool // everything in it was killed once, or that is not known
}

// MakeCgroup makes the cgroup called name, below one called group that all
// programs of one folder share, inside the cgroup of this process or, when that
// one cannot have any, the nearest around it. One that is there already is taken.
// Both names are a file's name each. ErrNotSupported says why there is none.
func MakeCgroup(group, name string) (*Cgroup, error) {
	for _, n := range []string{group, name} {
		if n == "" || strings.ContainsAny(n, "/\x00\n") {
			return nil, fmt.Errorf("%q cannot be the name of a cgroup", n)
		}
	}
	places, err := cgroupPlaces()
	if err != nil {
		return nil, fmt.Errorf("a cgroup for %s: %w: %w", name, ErrNotSupported, err)
	}
	var failed []error
	for _, place := range places {
		// The prefixes keep names apart from the kernel's own files in there.
		path := filepath.Join(place, "pairguard-"+group, "program-"+name)
		made, err := makeCgroup(path)
		if err == nil {
			c := &Cgroup{path: path}
			c.spent.Store(!made)
			return c, nil
		}
		failed = append(failed, err)
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
			return nil, fmt.Errorf("cannot make a cgroup for %s: %w", name, err)
		}
	}
	return nil, fmt.Errorf("a cgroup for %s: %w: %w", name, ErrNotSupported, errors.Join(failed[:min(len(failed), 1)]...))
}

// OpenCgroup returns the cgroup whose Path was path; os.ErrNotExist: it is gone.
func OpenCgroup(path string) (*Cgroup, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, &os.PathError{Op: "open cgroup", Path: path, Err: err}
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("%q is not a cgroup", path)
	}
	c := &Cgroup{path: path}
	c.spent.Store(true)
	return c, nil
}

// Spent reports whether everything in it was killed once, or that is not known.
func (c *Cgroup) Spent() bool { return c.spent.Load() }

// Reusable reports whether processes can be started in it for sure: MakeCgroup made it,
// Kill was not called, and nobody has frozen it (a child would not come to its exec) or
// put cgroups with controllers below it. What is left in it lives on.
func (c *Cgroup) Reusable() bool {
	if c.Spent() {
		return false
	}
	for file, want := range map[string]string{"cgroup.freeze": "0", "cgroup.subtree_control": ""} {
		var buf [256]byte
		text, err := readShort(filepath.Join(c.path, file), buf[:])
		if err != nil || string(bytes.TrimSpace(text)) != want {
			return false
		}
	}
	return true
}

// Path is where the cgroup is in the file system; it is the same for all processes
// that see the same mounts.
func (c *Cgroup) Path() string { return c.path }

// Open opens the cgroup for Spec.Cgroup. The caller closes it.
func (c *Cgroup) Open() (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(c.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open cgroup", Path: c.path, Err: err}
	}
	return os.NewFile(uintptr(fd), c.path), nil
}

// Kill ends everything in the cgroup, and below it, by force: also what is being
// forked right now, and what is frozen. It does not wait; nil when the cgroup is
// gone.
func (c *Cgroup) Kill() error {
	c.spent.Store(true)
	err := writeControl(filepath.Join(c.path, "cgroup.kill"), "1")
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		if _, gone := os.Stat(c.path); errors.Is(gone, os.ErrNotExist) {
			return nil
		}
	}
	return err
}

// Populated reports whether anything lives in the cgroup or below it. One that is
// gone is not populated.
func (c *Cgroup) Populated() (bool, error) {
	var buf [256]byte
	events, err := readShort(filepath.Join(c.path, "cgroup.events"), buf[:])
	switch {
	case err == unix.ENOENT || err == unix.ENODEV:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot tell whether anything lives in %s: %w", c.path, err)
	}
	return !bytes.Contains(events, []byte("populated 0")), nil
}

// Usage is the processor time that everything in the cgroup has had so far, also what
// is dead: when it has grown, something ran there.
func (c *Cgroup) Usage() (time.Duration, error) {
	var buf [1024]byte
	stat, err := readShort(filepath.Join(c.path, "cpu.stat"), buf[:])
	if err != nil {
		return 0, fmt.Errorf("cannot tell whether anything ran in %s: %w", c.path, err)
	}
	us, err := strconv.ParseInt(string(statusField(stat, "usage_usec ")), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot tell whether anything ran in %s: %w", c.path, err)
	}
	return time.Duration(us) * time.Microsecond, nil
}

// Remove removes the cgroup and what the program has made below it, and the one of
// the group when it was the last. nil when it is gone; EBUSY: something lives in it.
func (c *Cgroup) Remove() error {
	if err := removeCgroups(c.path); err != nil {
		return err
	}
	_ = unix.Rmdir(filepath.Dir(c.path)) // fails while others are in it
	return nil
}

// removeCgroups removes from the inside out; only folders can be removed there.
func removeCgroups(path string) error {
	err := unix.Rmdir(path)
	if err == unix.EBUSY { // processes, or cgroups below
		entries, readErr := os.ReadDir(path)
		if readErr != nil {
			return readErr
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			if err := removeCgroups(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
		err = unix.Rmdir(path)
	}
	if err == nil || err == unix.ENOENT {
		return nil
	}
	return &os.PathError{Op: "remove cgroup", Path: path, Err: err}
}

// makeCgroup makes one that processes can be born in, or leaves nothing; made is false
// when it was there.
func makeCgroup(path string) (made bool, err error) {
	parent := filepath.Dir(path)
	for range 3 { // another may remove the empty parent between the two
		if err := unix.Mkdir(parent, 0o755); err != nil && err != unix.EEXIST {
			return false, &os.PathError{Op: "make cgroup", Path: parent, Err: err}
		}
		err := unix.Mkdir(path, 0o755)
		if err == unix.ENOENT {
			continue
		}
		if err != nil && err != unix.EEXIST {
			_ = unix.Rmdir(parent)
			return false, &os.PathError{Op: "make cgroup", Path: path, Err: err}
		}
		made = err == nil
		if err = usableCgroup(path); err != nil {
			_ = (&Cgroup{path: path}).Remove()
		}
		return made, err
	}
	return false, fmt.Errorf("%s is removed again and again", parent)
}

// usableParents are those in which a cgroup was usable: all others are like it.
var usableParents sync.Map

func usableCgroup(path string) error {
	parent := filepath.Dir(path)
	if _, known := usableParents.Load(parent); known {
		return nil
	}
	err := checkCgroup(path)
	if err == nil {
		usableParents.Store(parent, struct{}{})
	}
	return err
}

func checkCgroup(path string) error {
	if err := unix.Access(filepath.Join(path, "cgroup.kill"), unix.W_OK); err != nil {
		return fmt.Errorf("%s: no cgroup.kill (Linux 5.14 has it): %w", path, err)
	}
	if err := unix.Access(filepath.Join(path, "cgroup.procs"), unix.W_OK); err != nil {
		return fmt.Errorf("%s: no process may be put there: %w", path, err)
	}
	var buf [64]byte
	kind, err := readShort(filepath.Join(path, "cgroup.type"), buf[:])
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if kind := string(bytes.TrimSpace(kind)); kind != "domain" {
		return fmt.Errorf("%s: it is a %s cgroup", path, kind)
	}
	return nil
}

// cgroupPlaces are the cgroups that could hold ours, the nearest first.
var cgroupPlaces = sync.OnceValues(func() ([]string, error) {
	// With a size of nothing the call does nothing: EINVAL says that it is there.
	if _, _, number := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); number != unix.EINVAL {
		return nil, fmt.Errorf("no process can be born in a cgroup: clone3: %w", number)
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		group, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		var places []string
		walkUp(group, "", true, func(folder, _ string, _ bool) { places = append(places, folder) })
		if len(places) == 0 {
			return nil, fmt.Errorf("the cgroup %q of this process is not mounted where it could be seen", group)
		}
		return places, nil
	}
	return nil, errors.New("no cgroup v2 is mounted")
})

// writeControl writes to one of the kernel's control files.
func writeControl(name, value string) error {
	fd, err := retry(func() (int, error) { return unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0) })
	if err == nil {
		_, err = retry(func() (int, error) { return unix.Write(fd, []byte(value)) })
		unix.Close(fd)
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}
