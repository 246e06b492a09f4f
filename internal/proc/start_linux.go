package proc

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Relies on: clone3 with CLONE_INTO_CGROUP (Linux 5.7) where a cgroup is asked for.
// Go's runtime gives the child the signal mask that this process was started with
// and no handlers of its own, and takes back the soft limit of open files that it
// raised, unless the program has set that limit itself.

// Start starts a process in a session of its own, with the null device as stdin
// unless the Spec names another. Its handle reaps it when it ends, even if it is
// closed or forgotten. When Start fails nothing runs; ErrCgroup: it might without
// its cgroup.
func Start(s Spec) (*Handle, error) {
	id, err := here()
	if err != nil {
		return nil, err
	}
	pidfd := -1
	attr := &syscall.SysProcAttr{Setsid: true}
	if pidfds() == nil {
		attr.PidFD = &pidfd
	}
	id.PID, err = forkInCgroup(s, attr)
	if err != nil {
		return nil, err
	}
	return born(id, pidfd), nil
}

// born returns the handle of a child that runs; pidfd negative: there is none yet.
func born(id ID, pidfd int) *Handle {
	if pidfd < 0 && pidfds() == nil {
		var err error
		pidfd, err = unix.PidfdOpen(id.PID, 0)
		if err != nil {
			pidfd = -1
		}
	}
	// fork has just given its null device back, or Forker.Start its room, so there is a
	// descriptor for this.
	// The child is not reaped yet, unless the host program does that, so the number is its own.
	if st, err := readStat(id.PID); err == nil {
		id.Start = st.start
	}
	h := newHandle(id, pidfd, true)
	if pidfd < 0 || deaths.add(h) != nil {
		go h.awaitChild() // it runs: whatever is missing, it gets a handle
	}
	return h
}

// forkInCgroup is fork in the cgroup that s names, if it names one.
func forkInCgroup(s Spec, attr *syscall.SysProcAttr) (pid int, err error) {
	if s.Cgroup == nil {
		return fork(s, attr)
	}
	lent := withFd(s.Cgroup, func(fd uintptr) error {
		attr.UseCgroupFD, attr.CgroupFD = true, int(fd)
		pid, err = fork(s, attr)
		return nil
	})
	if lent != nil {
		return 0, fmt.Errorf("cannot start %q: %w: %w", s.Path, ErrCgroup, lent)
	}
	if err != nil {
		return 0, unlessCgroup(s, err)
	}
	return pid, nil
}

// unlessCgroup makes an ErrCgroup of what may be one: the same numbers can be about the
// program itself; only a second try without the cgroup can tell, and that is the
// caller's to decide.
func unlessCgroup(s Spec, err error) error {
	for _, number := range []error{
		unix.ENOSYS, unix.EPERM, unix.EACCES, unix.EBUSY, unix.EOPNOTSUPP, unix.ENODEV, unix.EBADF, unix.EINVAL, unix.EAGAIN,
	} {
		if errors.Is(err, number) && checkExecutable(s.Path) == nil {
			return fmt.Errorf("%w (or %w: %s)", err, ErrCgroup, s.Cgroup.Name())
		}
	}
	return err
}
