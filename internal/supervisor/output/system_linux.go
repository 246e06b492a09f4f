package output

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// system is what a pump asks of the kernel while it moves output: the seam at which tests
// let a disk fail and a process die.
type system interface {
	// splice moves at most n bytes from a pipe to a place in a file, without waiting for the pipe.
	splice(pipe, file int, offset int64, n int) (int, error)
	// tee copies at most n bytes of one pipe to another and leaves them there.
	tee(pipe, scratch int, n int) (int, error)
	// discard takes at most n bytes out of a pipe.
	discard(pipe, null int, n int) (int, error)
	openLog(path string, extra int) (*os.File, error)
	makeFolder(path string) error
	rename(from, to string) error
	remove(path string) error
	fstat(fd int, st *unix.Stat_t) error
	stat(path string, st *unix.Stat_t) error
	pread(fd int, b []byte, offset int64) (int, error)
	pwrite(fd int, b []byte, offset int64) (int, error)
	truncate(fd int, size int64) error
}

// kernel is the real one. Relies on: splice from a pipe consumes exactly what it has written, also when the
// disk fills up or a signal comes in the middle; a kill takes effect between system calls.
type kernel struct{}

func (kernel) splice(pipe, file int, offset int64, n int) (int, error) {
	return retry(func() (int, error) {
		moved, err := unix.Splice(pipe, nil, file, &offset, n, unix.SPLICE_F_NONBLOCK)
		return int(moved), err
	})
}

func (kernel) tee(pipe, scratch int, n int) (int, error) {
	return retry(func() (int, error) {
		copied, err := unix.Tee(pipe, scratch, n, unix.SPLICE_F_NONBLOCK)
		return int(copied), err
	})
}

func (kernel) discard(pipe, null int, n int) (int, error) {
	return retry(func() (int, error) {
		gone, err := unix.Splice(pipe, nil, null, nil, n, unix.SPLICE_F_NONBLOCK)
		return int(gone), err
	})
}

// openLog opens a log for writing. Not O_APPEND, which splice refuses. Readable as well, to see whether it ends with a line.
func (kernel) openLog(path string, extra int) (*os.File, error) {
	// O_NONBLOCK is for what is not a regular file: it is refused below instead of waited for.
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NOFOLLOW | unix.O_NONBLOCK | extra
	fd, err := retry(func() (int, error) { return unix.Open(path, flags, 0o600) })
	if err == unix.ELOOP {
		return nil, fmt.Errorf("log %s is a symbolic link: name the file that it leads to", path)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open log", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "open log", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, fmt.Errorf("log %s is not a regular file: choose another path", path)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "open log", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (kernel) makeFolder(path string) error { return os.MkdirAll(path, 0o700) }

func (kernel) rename(from, to string) error { return os.Rename(from, to) }

func (kernel) remove(path string) error { return os.Remove(path) }

func (kernel) fstat(fd int, st *unix.Stat_t) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, unix.Fstat(fd, st) })
	return err
}

func (kernel) stat(path string, st *unix.Stat_t) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, unix.Lstat(path, st) })
	return err
}

func (kernel) pread(fd int, b []byte, offset int64) (int, error) {
	return retry(func() (int, error) { return unix.Pread(fd, b, offset) })
}

func (kernel) pwrite(fd int, b []byte, offset int64) (int, error) {
	return retry(func() (int, error) { return unix.Pwrite(fd, b, offset) })
}

func (kernel) truncate(fd int, size int64) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, unix.Ftruncate(fd, size) })
	return err
}

// OpenLog opens the log file of a spec for writing, at its end, and makes it and its folder where they are missing. Whatever
// is at that path must be a regular file.
func OpenLog(spec LogSpec) (*os.File, error) { return openLog(kernel{}, spec.Path) }

func openLog(sys system, path string) (*os.File, error) {
	f, err := sys.openLog(path, 0)
	if os.IsNotExist(err) {
		if err := sys.makeFolder(filepath.Dir(path)); err != nil {
			return nil, fmt.Errorf("folder of log %s: %w", path, err)
		}
		f, err = sys.openLog(path, 0)
	}
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, 2); err != nil { // nobody here needs it; whoever writes to a copy of it does
		f.Close()
		return nil, err
	}
	return f, nil
}
