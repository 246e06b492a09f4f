package proc

import (
	"errors"
	"os"
	"strconv"
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
	// it and may close it as soon as Start has returned.
	Output *os.File
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

// finish records the end; it is called once, by whoever took the handle out of
// its watcher.
func (h *Handle) finish(e ExitStatus) {
	h.exit = e
	close(h.done)
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}
