package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/without"
)

// Relies on: unshare(2) with CLONE_FILES gives the calling thread a table of
// descriptors of its own; pidfd_getfd(2) (Linux 5.6) brings a descriptor of this
// process, as /proc and a pidfd know it (the table of the first thread), over into it.
// Go's runtime makes no other thread from a locked one and ends it with its goroutine;
// what the runtime itself uses in any thread (its epoll and its eventfd) was opened
// before and is in both tables.
//
// In here descriptors are numbers: an os.File could be closed by the collector, on
// another thread, where its number means something else.

// Forker starts processes from a thread that shares no descriptors with the rest of
// this process. A child begins with a copy of all descriptors of the thread that forks
// it, and closes them one by one at its exec: for a supervisor that holds 3,000 of them
// that is most of the work. And a child that hangs on its way to the exec holds no
// lock, no listener and no link of ours. Safe for concurrent use; it is there as long
// as the process is.
type Forker struct {
	jobs chan func()
	self int // pidfd of this process, in the thread's table
	held int // what Hold has brought over; -1: nothing
}

// NewForker makes the thread, which has what is open now: the earlier, the less.
// ErrNotSupported: the kernel, or what confines this process, does not permit it.
func NewForker() (*Forker, error) {
	if pidfds() != nil || without.Feature("forker") {
		return nil, fmt.Errorf("a thread for starts: %w", ErrNotSupported)
	}
	sample, err := os.Open(os.DevNull) // and the runtime has opened what its poller needs
	if err != nil {
		return nil, fmt.Errorf("a thread for starts: %w", err)
	}
	defer sample.Close()
	f := &Forker{jobs: make(chan func()), held: -1}
	err = withFd(sample, func(fd uintptr) error {
		ready := make(chan error)
		go f.serve(int(fd), ready)
		return <-ready
	})
	if err != nil {
		return nil, fmt.Errorf("a thread for starts: %w: %w", ErrNotSupported, err)
	}
	return f, nil
}

// Close ends the thread. Nothing may be started, or begin to be held, after that.
func (f *Forker) Close() { close(f.jobs) }

// serve is the thread. It must not be the first one, whose table is that of the process
// to everybody else.
func (f *Forker) serve(sample int, ready chan<- error) {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		other := make(chan error)
		go f.serve(sample, other)
		err := <-other
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	err := f.separate(sample)
	ready <- err
	if err != nil {
		return
	}
	for job := range f.jobs {
		job()
	}
}

// separate gives the thread its own table, and tries whether a descriptor of the process
// can be brought over into it.
func (f *Forker) separate(sample int) error {
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		// Where unshare is forbidden this may not be. There is no such descriptor.
		if unix.CloseRange(1<<30, 1<<30, unix.CLOSE_RANGE_UNSHARE) != nil {
			return os.NewSyscallError("unshare", err)
		}
	}
	unix.Close(sample) // its copy
	var err error
	if f.self, err = unix.PidfdOpen(unix.Getpid(), 0); err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	fd, err := f.bring(sample)
	if err != nil {
		return err
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

// do has the thread do something, and waits for it.
func (f *Forker) do(job func()) {
	done := make(chan struct{})
	f.jobs <- func() { job(); close(done) }
	<-done
}

// bring duplicates a descriptor of the process into the table of the thread.
func (f *Forker) bring(fd int) (int, error) {
	own, err := retry(func() (int, error) { return unix.PidfdGetfd(f.self, fd, 0) })
	if err != nil {
		return -1, os.NewSyscallError("pidfd_getfd", err)
	}
	return own, nil
}

// Hold brings the file over, where every child has it until its exec, instead of the one
// held before. It stays the caller's, too.
func (f *Forker) Hold(file *os.File) error {
	var err error
	lent := withFd(file, func(fd uintptr) error {
		f.do(func() {
			var own int
			if own, err = f.bring(int(fd)); err == nil {
				unix.Close(f.held)
				f.held = own
			}
		})
		return err
	})
	if lent != nil {
		return fmt.Errorf("%s cannot be held for children: %w", file.Name(), lent)
	}
	return nil
}

// Start is the package's Start.
func (f *Forker) Start(s Spec) (*Handle, error) {
	id, err := here()
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(s.Path) {
		return nil, fmt.Errorf("cannot start %q: not an absolute path", s.Path)
	}
	id.PID, err = f.fork(s)
	switch {
	case err != nil && s.Cgroup != nil:
		return nil, unlessCgroup(s, explain(s, err))
	case err != nil:
		return nil, explain(s, err)
	}
	return born(id, -1), nil
}

// fork starts s and returns its number once the exec has succeeded.
func (f *Forker) fork(s Spec) (pid int, err error) {
	given := s.standard(nil)
	files := slices.DeleteFunc(append(given[:], s.Cgroup), func(f *os.File) bool { return f == nil })
	lent := withFds(files, func(fds []uintptr) error {
		number := map[*os.File]int{}
		for i, file := range files {
			number[file] = int(fds[i])
		}
		withOriginalOOMScore(func() {
			f.do(func() {
				t := transfer{forker: f, number: number, own: map[*os.File]int{}}
				defer t.close()
				pid, err = t.fork(&s)
			})
		})
		return err
	})
	return pid, lent
}

// transfer is what one start has in the thread's table.
type transfer struct {
	forker *Forker
	number map[*os.File]int // in the table of the process
	own    map[*os.File]int // in that of the thread; nil file: the null device
}

func (t *transfer) fork(s *Spec) (int, error) {
	attr := &syscall.SysProcAttr{Setsid: true}
	var fds []uintptr
	for _, file := range s.standard(nil) {
		fd, err := t.bring(file)
		if err != nil {
			return 0, err
		}
		fds = append(fds, uintptr(fd))
	}
	if s.Cgroup != nil {
		fd, err := t.bring(s.Cgroup)
		if err != nil {
			return 0, err
		}
		attr.UseCgroupFD, attr.CgroupFD = true, fd
	}
	return syscall.ForkExec(s.Path, s.argv(), s.procAttr(fds, attr))
}

// bring brings a file over, once; nil is the null device.
func (t *transfer) bring(file *os.File) (fd int, err error) {
	if fd, done := t.own[file]; done {
		return fd, nil
	}
	if file == nil {
		fd, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	} else {
		fd, err = t.forker.bring(t.number[file])
	}
	if err != nil {
		return -1, err
	}
	t.own[file] = fd
	return fd, nil
}

func (t *transfer) close() {
	for _, fd := range t.own {
		unix.Close(fd)
	}
}
