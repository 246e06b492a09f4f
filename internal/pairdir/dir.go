package pairdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Variable is the environment variable that names the folder.
const Variable = "PAIRGUARD_DIR"

// ErrNotSupported is wrapped by what this operating system cannot do.
var ErrNotSupported = errors.New("not supported on this operating system")

// Dir is a folder in which pairs meet. It holds no descriptor: it may be removed
// and made again while a Dir is in use. Safe for concurrent use.
type Dir struct {
	path string // absolute, its parents free of links
	disk diskCalls
}

// diskCalls are the steps of storing a record that tests make fail or die in.
type diskCalls struct {
	write  func(f *os.File, b []byte) (int, error)
	rename func(from, to string) error
	// exchange swaps two files in one step; an error where there are not two, or
	// where the system cannot.
	exchange func(from, to string) error
}

func realDisk() diskCalls {
	return diskCalls{write: (*os.File).Write, rename: renameFile, exchange: exchangeFiles}
}

// Default returns the folder that all processes of this user find without
// arguments: $PAIRGUARD_DIR (made absolute), else one that depends on the user
// id alone. Cron jobs, services, su and a desktop session must agree, so neither
// XDG variables nor, where the user database knows better, $HOME are asked.
func Default() (string, error) {
	if path := os.Getenv(Variable); path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", fmt.Errorf("%s=%s: %w; set it to an absolute path", Variable, path, err)
		}
		return abs, nil
	}
	return defaultPath()
}

// Open checks the folder at path and makes it (mode 0700, missing parents 0755)
// if there is none. It is an error when it is a link or not a directory, belongs
// to another user, or can be entered by others; the error says how to mend it.
func Open(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w; give an absolute path", path, err)
	}
	// Links on the way are resolved once: one folder must have one name, or one
	// process could open a lock file by two of them, and closing one of the two
	// descriptors would drop the lock. The last element must not be a link.
	if err := makeParents(filepath.Dir(abs)); err != nil {
		return nil, fmt.Errorf("folder %s: cannot make its parents: %w; choose another with %s or --dir", abs, err, Variable)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w; choose another with %s or --dir", abs, err, Variable)
	}
	d := &Dir{path: filepath.Join(parent, filepath.Base(abs)), disk: realDisk()}
	if d.path == parent {
		return nil, fmt.Errorf("folder %s: the root of a file system cannot be used; name a folder in it", abs)
	}
	if _, err := d.ensure(); err != nil {
		return nil, err
	}
	return d, nil
}

// Path returns the absolute path of the folder.
func (d *Dir) Path() string { return d.path }

// ensure makes the folder if it is missing, checks it, and says whether it made it.
func (d *Dir) ensure() (made bool, err error) {
	info, err := os.Lstat(d.path)
	for range claimTries { // it may be removed again between two steps
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if made, err = makeFolder(d.path); err == nil {
			info, err = os.Lstat(d.path)
		}
	}
	if err != nil {
		return made, fmt.Errorf("folder %s: %w; make it, or choose another with %s or --dir", d.path, err, Variable)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return made, fmt.Errorf("folder %s: is a symbolic link; name the folder it leads to", d.path)
	case !info.IsDir():
		return made, fmt.Errorf("folder %s: is not a directory; remove it or choose another with %s or --dir", d.path, Variable)
	}
	return made, checkPrivate(d.path, info)
}

// makeFolder makes the folder for its owner alone. Several processes may do so
// at once; losing that race is success.
func makeFolder(path string) (made bool, err error) {
	if err := makeParents(filepath.Dir(path)); err != nil {
		return false, err
	}
	err = os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// An odd umask may have taken our own rights away.
	return true, os.Chmod(path, 0o700)
}

// makeParents makes what is missing on the way to the folder. Whatever the umask,
// the owner can enter it.
func makeParents(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := makeParents(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o755); errors.Is(err, fs.ErrExist) {
		return os.MkdirAll(path, 0o755) // somebody made it, or it is no folder
	} else if err != nil {
		return err
	}
	if info, err = os.Stat(path); err == nil && info.Mode().Perm()&0o700 != 0o700 {
		err = os.Chmod(path, info.Mode().Perm()|0o700)
	}
	return err
}

// file is the path of one of a name's files.
func (d *Dir) file(n Name, ext string) string { return filepath.Join(d.path, n.key+ext) }
