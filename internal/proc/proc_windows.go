package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Relies on: a process object that stays, with its number, as long as a handle is
// open; GetProcessTimes' creation time, which with the number is unique; the
// thread pool's RegisterWaitForSingleObject, which waits for 63 objects a thread.

// sysHandle is the Windows part of a Handle.
type sysHandle struct {
	mu      sync.RWMutex // guards all of it
	process windows.Handle
	wait    windows.Handle // what the thread pool calls the wait for it
	token   uintptr        // its name in waiting
	closed  bool
}

const access = windows.SYNCHRONIZE | windows.PROCESS_TERMINATE | windows.PROCESS_QUERY_LIMITED_INFORMATION

// Self returns the ID of this process.
func Self() (ID, error) { return identify(windows.CurrentProcess(), os.Getpid()) }

// identify makes an ID. BootID stays empty: Start is a time of day, in units of
// 100 ns, and needs none.
func identify(process windows.Handle, pid int) (ID, error) {
	var start, end, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(process, &start, &end, &kernel, &user); err != nil {
		return ID{}, fmt.Errorf("cannot tell when process %d was started: %w", pid, err)
	}
	return ID{PID: pid, Start: uint64(start.HighDateTime)<<32 | uint64(start.LowDateTime)}, nil
}

// Open returns a handle on a process that need not be a child. ErrGone: there is
// none. Done of a dead one that others keep open is closed already. Close the
// handle when it is not needed any more.
func Open(pid int) (*Handle, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("process %d: not a process number", pid)
	}
	process, err := windows.OpenProcess(access, false, uint32(pid))
	switch {
	case err == windows.ERROR_INVALID_PARAMETER:
		return nil, fmt.Errorf("process %d: %w", pid, ErrGone)
	case err == windows.ERROR_ACCESS_DENIED:
		return nil, fmt.Errorf("cannot open process %d: %w: it belongs to another user, or runs elevated and this one does not", pid, err)
	case err != nil:
		return nil, fmt.Errorf("cannot open process %d: %w", pid, err)
	}
	h, err := adopt(process, pid)
	if err != nil {
		windows.CloseHandle(process)
		return nil, err
	}
	return h, nil
}

// adopt takes over a process handle, unless it fails.
func adopt(process windows.Handle, pid int) (*Handle, error) {
	id, err := identify(process, pid)
	if err != nil {
		return nil, err
	}
	h := &Handle{id: id, done: make(chan struct{})}
	h.sys.process = process
	if event, err := windows.WaitForSingleObject(process, 0); err == nil && event == windows.WAIT_OBJECT_0 {
		h.died()
		return h, nil
	}
	return h, h.watch()
}

// Reopen returns a handle on the process that id names, and on no other: ErrGone
// when it has ended, whoever has its number now.
func Reopen(id ID) (*Handle, error) {
	if id.PID <= 0 || id.Start == 0 {
		return nil, fmt.Errorf("%v: %w", id, ErrGone)
	}
	h, err := Open(id.PID)
	if err != nil {
		return nil, err
	}
	if h.id != id {
		h.Close()
		return nil, fmt.Errorf("%v: %w (its number is used again)", id, ErrGone)
	}
	return h, nil
}

// FromPidfd returns ErrNotSupported: there are none here.
func FromPidfd(int) (*Handle, error) { return nil, fmt.Errorf("pidfds: %w", ErrNotSupported) }

// Start starts a process in a process group of its own, outside this one's job
// where that is allowed, with the null device as stdin and with a console that has
// no window: the console programs that it starts in turn open none either, and the
// system tells it of the end of the session, as it does not tell a process that has
// no console at all. When Start fails nothing runs.
func Start(s Spec) (*Handle, error) {
	if !filepath.IsAbs(s.Path) {
		return nil, fmt.Errorf("cannot start %q: not an absolute path", s.Path)
	}
	if s.Cgroup != nil {
		return nil, noCgroups(s)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", s.Path, err)
	}
	defer null.Close()
	files := s.standard(null)
	const flags = windows.CREATE_NO_WINDOW | windows.CREATE_NEW_PROCESS_GROUP
	create := func(flags uint32) (int, uintptr, error) {
		return syscall.StartProcess(s.Path, append([]string{s.Path}, s.Args...), &syscall.ProcAttr{
			Dir: s.Dir, Env: s.Env, Files: []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()},
			Sys: &syscall.SysProcAttr{CreationFlags: flags, HideWindow: true},
		})
	}
	pid, process, err := create(flags | windows.CREATE_BREAKAWAY_FROM_JOB)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) { // the job keeps its own
		pid, process, err = create(flags)
	}
	if err != nil {
		return nil, explain(s, err)
	}
	h, err := adopt(windows.Handle(process), pid)
	if err != nil {
		_ = windows.TerminateProcess(windows.Handle(process), killedCode) // when Start fails nothing runs
		windows.CloseHandle(windows.Handle(process))
		return nil, fmt.Errorf("cannot start %q: %w", s.Path, err)
	}
	return h, nil
}

func explain(s Spec, err error) error {
	if s.Dir != "" {
		if info, e := os.Stat(s.Dir); e != nil || !info.IsDir() {
			return fmt.Errorf("cannot start %q: its working directory %q is not there: create it or name another (%w)", s.Path, s.Dir, err)
		}
	}
	if e := checkExecutable(s.Path); e != nil {
		return fmt.Errorf("cannot start: %w", e)
	}
	return fmt.Errorf("cannot start %q: %w", s.Path, err)
}

// died is called once, when the process is dead.
func (h *Handle) died() {
	h.finish(h.exitStatus()) // calls back, so no lock is held
	h.sys.mu.Lock()
	defer h.sys.mu.Unlock()
	h.release()
}

func (h *Handle) exitStatus() ExitStatus {
	h.sys.mu.RLock()
	defer h.sys.mu.RUnlock()
	var code uint32
	if err := windows.GetExitCodeProcess(h.sys.process, &code); err != nil {
		return ExitStatus{}
	}
	return ExitStatus{Known: true, Code: int(code)}
}

// release gives everything back; mu is held.
func (h *Handle) release() {
	if h.sys.wait != 0 {
		_, _, _ = unregisterWait.Call(uintptr(h.sys.wait))
		h.sys.wait = 0
	}
	if h.sys.process != 0 {
		windows.CloseHandle(h.sys.process)
		h.sys.process = 0
	}
}

// Close gives the handle up. The process is left alone, Done will not be closed
// any more.
func (h *Handle) Close() {
	h.sys.mu.Lock()
	defer h.sys.mu.Unlock()
	if h.sys.closed {
		return
	}
	h.sys.closed = true
	if waiting.take(h.sys.token) != nil { // else died is on its way
		h.release()
	}
}

// killedCode is the exit code of a process that was ended by TerminateProcess, as
// the task manager does it.
const killedCode = 1

func (h *Handle) signal(s syscall.Signal) error {
	switch s {
	case syscall.SIGKILL, syscall.SIGTERM:
	case FreezeSignal:
		return h.Freeze()
	case ThawSignal:
		return h.Thaw()
	default:
		return fmt.Errorf("signal %v for %v: %w", s, h.id, ErrNotSupported)
	}
	h.sys.mu.RLock()
	defer h.sys.mu.RUnlock()
	switch {
	case h.isDone():
		return fmt.Errorf("%v: %w", h.id, ErrGone)
	case h.sys.closed:
		return ErrClosed
	case s == syscall.SIGTERM:
		return h.requestEnd()
	}
	err := windows.TerminateProcess(h.sys.process, killedCode)
	if err == nil {
		return nil
	}
	// A process that is ending already refuses.
	if event, e := windows.WaitForSingleObject(h.sys.process, 0); e == nil && event == windows.WAIT_OBJECT_0 {
		return fmt.Errorf("%v: %w", h.id, ErrGone)
	}
	return fmt.Errorf("cannot end %v: %w", h.id, err)
}

// Nudge does nothing: the kernel tells of the death.
func (h *Handle) Nudge() {}

// Capabilities says, in words, what this system lacks and what is done instead.
func Capabilities() []string {
	if kept := jobThatKeeps(); kept != "" {
		return []string{kept}
	}
	return nil
}

var (
	kernel32                    = windows.NewLazySystemDLL("kernel32.dll")
	registerWaitForSingleObject = kernel32.NewProc("RegisterWaitForSingleObject")
	unregisterWait              = kernel32.NewProc("UnregisterWait")
	// onEnd runs on the thread that waits, which must not be kept.
	onEnd = sync.OnceValue(func() uintptr {
		return windows.NewCallback(func(token, _ uintptr) uintptr {
			if h := waiting.take(token); h != nil {
				go h.died()
			}
			return 0
		})
	})
	waiting waitList
)

// waitList holds the handles that the thread pool waits for, by tokens, since it
// may not hold Go pointers.
type waitList struct {
	mu      sync.Mutex
	handles map[uintptr]*Handle
	token   uintptr
}

func (l *waitList) put(h *Handle) uintptr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handles == nil {
		l.handles = make(map[uintptr]*Handle)
	}
	l.token++
	l.handles[l.token] = h
	return l.token
}

// take removes a handle; nil: somebody else has.
func (l *waitList) take(token uintptr) *Handle {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.handles[token]
	delete(l.handles, token)
	return h
}

// watch makes the pool wait for the end of h.
func (h *Handle) watch() error {
	// WT_EXECUTEONLYONCE; and in the thread that waits (WT_EXECUTEINWAITTHREAD), or
	// many deaths at once would make many threads.
	const once = 0x8 | 0x4
	h.sys.mu.Lock() // died must not come before wait is known
	defer h.sys.mu.Unlock()
	h.sys.token = waiting.put(h)
	ok, _, err := registerWaitForSingleObject.Call(uintptr(unsafe.Pointer(&h.sys.wait)), uintptr(h.sys.process),
		onEnd(), h.sys.token, windows.INFINITE, once)
	if ok == 0 {
		waiting.take(h.sys.token)
		return fmt.Errorf("cannot watch %v: %w", h.id, err)
	}
	return nil
}
