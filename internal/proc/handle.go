package proc

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"syscall"
)

var (
	// ErrGone says that the process does not exist any more.
	ErrGone = errors.New("the process is gone")
	// ErrElsewhere says that an ID is of another PID namespace, where its
	// process may live on unseen. It always comes together with ErrGone: from
	// here, nothing can be done to that process.
	ErrElsewhere = errors.New("it belongs to another PID namespace")
	// ErrNotSupported says that this operating system cannot do it.
	ErrNotSupported = errors.New("not supported on this operating system")
	// ErrCgroup says that a process cannot be started in a cgroup, though it might
	// be without one.
	ErrCgroup = errors.New("it cannot be started in its cgroup")
	// ErrClosed says that the handle was closed.
	ErrClosed = errors.New("the process handle is closed")
)

// Handle stands for one process, which need not be a child. All methods are safe
// for concurrent use.
type Handle struct {
	id   ID
	done chan struct{} // closed once, after exit was written
	exit ExitStatus
	sys  sysHandle

	mu     sync.Mutex // guards onDone, and what OnDone sees of done; no other lock is taken while it is held
	onDone []func()
}

// Spec says what to start, and in what world.
type Spec struct {
	// Path is the absolute path of the executable (see Resolve); also argv[0].
	Path string
	// Args are the arguments after argv[0].
	Args []string
	// Dir is the working directory; empty: that of this process.
	Dir string
	// Env is the whole environment; nil: that of this process.
	Env []string
	// Output becomes stdout and stderr; nil: the null device. The caller keeps
	// it, and all other files, and may close them as soon as Start has returned.
	Output *os.File
	// Stdin, Stdout and Stderr are for one each; nil: the null device for Stdin,
	// Output for the others. They are given as they are: most programs fail on one
	// that does not block, as those of os.Pipe do not.
	Stdin, Stdout, Stderr *os.File
	// Cgroup is where the process is born (Cgroup.Open); nil: in that of this
	// process. Linux 5.7 with cgroup v2 alone, elsewhere Start fails with ErrCgroup.
	Cgroup *os.File
}

// standard returns the three standard files.
func (s *Spec) standard(null *os.File) [3]*os.File {
	files := [3]*os.File{s.Stdin, s.Stdout, s.Stderr}
	for i := range files {
		switch {
		case files[i] != nil:
		case i > 0 && s.Output != nil:
			files[i] = s.Output
		default:
			files[i] = null
		}
	}
	return files
}

// ExitStatus tells how a process ended. Unknown is not zero: unless Known is set
// nothing else means anything.
type ExitStatus struct {
	Known bool
	// Code is the exit code, valid when Signal is empty.
	Code int
	// Signal is the name, without SIG, of the signal that ended the process.
	Signal string
}

// String says "exit code 1", "signal KILL" or "unknown".
func (e ExitStatus) String() string {
	switch {
	case !e.Known:
		return "unknown"
	case e.Signal != "":
		return "signal " + e.Signal
	}
	return "exit code " + strconv.Itoa(e.Code)
}

// ID says which process this is. ID.Start is 0 when the process was gone before
// the kernel could be asked for it; such an ID cannot be reopened.
func (h *Handle) ID() ID { return h.id }

// PID returns the process's number.
func (h *Handle) PID() int { return h.id.PID }

// Done is closed when the process is proved dead: all of its threads have ended
// and its memory is gone. It is not closed by Close.
func (h *Handle) Done() <-chan struct{} { return h.done }

// OnDone calls fn once, right after Done was closed, or at once when it is closed
// already. fn must not wait: it may hold up the news of all other deaths. Exit is
// known by then as far as it ever will be, and a child is not buried yet. After
// Close it is called no more where Done would not be closed any more.
func (h *Handle) OnDone(fn func()) {
	h.mu.Lock()
	if !h.isDone() {
		h.onDone = append(h.onDone, fn)
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	fn()
}

// Exit tells how the process ended; unknown before Done is closed.
func (h *Handle) Exit() ExitStatus {
	if !h.isDone() {
		return ExitStatus{}
	}
	return h.exit
}

// Kill ends the process by force (SIGKILL, TerminateProcess). It returns at once,
// Done is the proof; nil when it is dead already.
func (h *Handle) Kill() error { return ignoreGone(h.signal(syscall.SIGKILL)) }

// Terminate asks the process to end (SIGTERM; on Windows WM_CLOSE to its windows,
// ErrNotSupported when it has none, see OnEndRequest); nil when it is dead already.
func (h *Handle) Terminate() error { return ignoreGone(h.signal(syscall.SIGTERM)) }

// Signal sends s; ErrGone when the process is dead. Windows
// knows os.Kill, SIGTERM, FreezeSignal and ThawSignal alone.
func (h *Handle) Signal(s os.Signal) error {
	n, ok := s.(syscall.Signal)
	if !ok {
		return ErrNotSupported
	}
	return h.signal(n)
}

func (h *Handle) isDone() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// finish records the end and tells of it; it is called once, by whoever took the
// handle out of its watcher, with no lock held.
func (h *Handle) finish(e ExitStatus) {
	h.mu.Lock()
	h.exit = e
	close(h.done)
	tell := h.onDone
	h.onDone = nil
	h.mu.Unlock()
	for _, fn := range tell {
		fn()
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}
