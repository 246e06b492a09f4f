package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/without"
)

// Relies on: unshare(2) with CLONE_FILES gives the calling thread a table of
// descriptors of its own, and so does close_range(2) with CLOSE_RANGE_UNSHARE (Linux
// 5.9); SCM_RIGHTS brings descriptors over into it. (pidfd_getfd would be simpler, but
// the filters of system calls in systemd units and containers kill who uses it.)
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
// lock, no listener and no link of ours. Safe for concurrent use; it is there until Close.
type Forker struct {
	jobs chan func()
	held int // what Hold has brought over; -1: nothing

	mu       sync.Mutex // one at a time: what is brought over belongs to the job that follows
	sender   int        // the end of a pair of sockets that the process sends into
	receiver int        // the end that the thread receives from
	message  [1]byte
}

// NewForker makes the thread, which has what is open now: the earlier, the less.
// ErrNotSupported: the kernel, or what confines this process, does not permit it.
func NewForker() (*Forker, error) {
	if without.Feature("forker") {
		return nil, fmt.Errorf("a thread for starts: %w", ErrNotSupported)
	}
	null, err := os.Open(os.DevNull) // and the runtime has opened what its poller needs
	if err != nil {
		return nil, fmt.Errorf("a thread for starts: %w", err)
	}
	null.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("a thread for starts: %w", os.NewSyscallError("socketpair", err))
	}
	f := &Forker{jobs: make(chan func()), held: -1, sender: pair[0], receiver: pair[1]}
	ready := make(chan error)
	go f.serve(ready)
	err = <-ready
	unix.Close(f.receiver) // of the process; the thread has its own
	if err != nil {
		unix.Close(f.sender)
		return nil, fmt.Errorf("a thread for starts: %w: %w", ErrNotSupported, err)
	}
	return f, nil
}

// Close ends the thread. Nothing may be started, or begin to be held, after that.
func (f *Forker) Close() {
	close(f.jobs)
	unix.Close(f.sender)
}

// serve is the thread. It must not be the first one, whose table is that of the process
// to /proc.
func (f *Forker) serve(ready chan<- error) {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		other := make(chan error)
		go f.serve(other)
		err := <-other
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	err := unshareFiles()
	if err == nil {
		unix.Close(f.sender) // of the thread; the process has its own
	}
	ready <- err
	if err != nil {
		return
	}
	for job := range f.jobs {
		job()
	}
}

// unshareFiles gives the thread a table of its own.
func unshareFiles() error {
	err := unix.Unshare(unix.CLONE_FILES)
	if err == nil {
		return nil
	}
	// Where unshare is forbidden this may not be. There is no such descriptor.
	if unix.CloseRange(1<<30, 1<<30, unix.CLOSE_RANGE_UNSHARE) == nil {
		return nil
	}
	return os.NewSyscallError("unshare", err)
}

// do has the thread do something with the files, which it gets under numbers of its own
// for that time, and waits for it. An error says that nothing was done.
func (f *Forker) do(files []*os.File, job func(own []int)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(files) > 0 {
		if err := withFds(files, f.send); err != nil {
			return err
		}
	}
	var err error
	done := make(chan struct{})
	f.jobs <- func() {
		defer close(done)
		var own []int
		if len(files) > 0 {
			own, err = f.receive(len(files))
		}
		if err == nil {
			job(own)
		}
		for _, fd := range own {
			unix.Close(fd)
		}
	}
	<-done
	return err
}

// send sends descriptors of the process to the thread.
func (f *Forker) send(fds []uintptr) error {
	numbers := make([]int, len(fds))
	for i, fd := range fds {
		numbers[i] = int(fd)
	}
	_, err := retry(func() (int, error) {
		return unix.SendmsgN(f.sender, f.message[:], unix.UnixRights(numbers...), nil, unix.MSG_NOSIGNAL)
	})
	return os.NewSyscallError("sendmsg", err)
}

// receive takes what was sent, in the thread.
func (f *Forker) receive(n int) (own []int, err error) {
	rights := make([]byte, unix.CmsgSpace(4*n))
	var used, flags int
	_, err = retry(func() (read int, err error) {
		read, used, flags, _, err = unix.Recvmsg(f.receiver, f.message[:], rights, unix.MSG_CMSG_CLOEXEC)
		return read, err
	})
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:used])
	for _, m := range messages {
		fds, e := unix.ParseUnixRights(&m)
		own, err = append(own, fds...), errors.Join(err, e)
	}
	if err == nil && (len(own) != n || flags&unix.MSG_CTRUNC != 0) {
		err = fmt.Errorf("only %d of %d descriptors came over: %w", len(own), n, unix.EMFILE)
	}
	return own, err
}

// Hold brings the file over, where every child has it until its exec, instead of the one
// held before. It stays the caller's, too.
func (f *Forker) Hold(file *os.File) error {
	var err error
	failed := f.do([]*os.File{file}, func(own []int) {
		var kept int
		if kept, err = unix.FcntlInt(uintptr(own[0]), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			unix.Close(f.held)
			f.held = kept
		}
	})
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("%s cannot be held for children: %w", file.Name(), err)
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
	room, err := reserve(2) // for the pidfd and the look at the child: it is not to run unseen
	if err == nil {
		id.PID, err = f.fork(&s)
		room.release()
	}
	switch {
	case errors.Is(err, unix.ETOOMANYREFS): // more descriptors of this user are on their way than may be
		return Start(s)
	case errors.Is(err, errNull) && !errors.Is(err, unix.EMFILE):
		return nil, fmt.Errorf("cannot start %q: %w", s.Path, err)
	case err != nil && s.Cgroup != nil:
		return nil, unlessCgroup(s, explain(s, err))
	case err != nil:
		return nil, explain(s, err)
	}
	return born(id, -1), nil
}

var errNull = errors.New(os.DevNull + " cannot be opened")

// reservation is descriptors that are there to be given back.
type reservation []int

func reserve(n int) (r reservation, err error) {
	for range n {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			r.release()
			return nil, fmt.Errorf("%w: %w", errNull, err)
		}
		r = append(r, fd)
	}
	return r, nil
}

func (r reservation) release() {
	for _, fd := range r {
		unix.Close(fd)
	}
}

// fork starts s and returns its number once the exec has succeeded.
func (f *Forker) fork(s *Spec) (pid int, err error) {
	standard := s.standard(nil)
	var files []*os.File // each once
	for _, file := range append(standard[:], s.Cgroup) {
		if file != nil && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	withOriginalOOMScore(func() {
		failed := f.do(files, func(own []int) {
			pid, err = forkWith(s, func(file *os.File) int { return own[slices.Index(files, file)] })
		})
		err = errors.Join(failed, err)
	})
	return pid, err
}

// forkWith forks in the thread; number tells where a file is in its table.
func forkWith(s *Spec, number func(*os.File) int) (int, error) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNull, err)
	}
	defer unix.Close(null)
	var fds []uintptr
	for _, file := range s.standard(nil) {
		if file == nil {
			fds = append(fds, uintptr(null))
			continue
		}
		fds = append(fds, uintptr(number(file)))
	}
	attr := &syscall.SysProcAttr{Setsid: true}
	if s.Cgroup != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, number(s.Cgroup)
	}
	return syscall.ForkExec(s.Path, s.argv(), s.procAttr(fds, attr))
}
