//go:build linux || darwin || freebsd

package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fork starts s and returns its number once the exec has succeeded.
func fork(s Spec, attr *syscall.SysProcAttr) (pid int, err error) {
	if !filepath.IsAbs(s.Path) {
		return 0, fmt.Errorf("cannot start %q: not an absolute path", s.Path)
	}
	// Package os would offer it to its poller first, each time.
	fd, err := syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("cannot start %q: %w", s.Path, &fs.PathError{Op: "open", Path: os.DevNull, Err: err})
	}
	null := os.NewFile(uintptr(fd), os.DevNull)
	defer null.Close()
	files := s.standard(null)
	err = withFds(files[:], func(fds []uintptr) error {
		var err error
		pid, err = forkExec(s.Path, s.argv(), s.procAttr(fds, attr))
		return err
	})
	if err != nil {
		return 0, explain(s, err)
	}
	return pid, nil
}

func (s *Spec) argv() []string { return append([]string{s.Path}, s.Args...) }

func (s *Spec) procAttr(fds []uintptr, sys *syscall.SysProcAttr) *syscall.ProcAttr {
	env := s.Env
	if env == nil {
		env = os.Environ()
	}
	return &syscall.ProcAttr{Dir: s.Dir, Env: env, Files: fds, Sys: sys}
}

// withFd lends the descriptor of f. File.Fd would make the caller's file blocking.
func withFd(f *os.File, use func(fd uintptr) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = use(fd) }); err != nil {
		return err
	}
	return failed
}

// withFds lends the descriptors of all files.
func withFds(files []*os.File, use func(fds []uintptr) error) error {
	fds := make([]uintptr, 0, len(files))
	var lend func() error
	lend = func() error {
		if len(fds) == len(files) {
			return use(fds)
		}
		return withFd(files[len(fds)], func(fd uintptr) error {
			fds = append(fds, fd)
			return lend()
		})
	}
	return lend()
}

// explain says what was wrong with s: the kernel's one number stands for many
// causes.
func explain(s Spec, err error) error {
	if s.Dir != "" {
		if info, e := os.Stat(s.Dir); e != nil || !info.IsDir() {
			return fmt.Errorf("cannot start %q: its working directory %q is not there: create it or name another (%w)", s.Path, s.Dir, err)
		}
	}
	if e := checkExecutable(s.Path); e != nil {
		return fmt.Errorf("cannot start: %w", e)
	}
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = ": its interpreter (the #! line, or the dynamic loader) is not there"
	case errors.Is(err, syscall.ENOEXEC):
		hint = ": neither a program for this machine nor a script that begins with #!"
	case errors.Is(err, syscall.EACCES):
		hint = ": the file system may be mounted noexec, or a folder on the way or the interpreter may not be used"
	case errors.Is(err, syscall.E2BIG):
		hint = ": arguments and environment are too long together"
	case errors.Is(err, syscall.ETXTBSY):
		hint = ": the file is still being written"
	case errors.Is(err, syscall.EAGAIN):
		hint = ": the user's limit of processes is reached (ulimit -u, or the cgroup's pids.max)"
	case errors.Is(err, syscall.EMFILE):
		hint = ": this process's limit of open files is reached (ulimit -n)"
	}
	return fmt.Errorf("cannot start %q: %w%s", s.Path, err, hint)
}
