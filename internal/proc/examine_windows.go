package proc

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Relies on: SystemProcessInformation, the one source of what threads are doing
// (it lists all processes, so it is asked about suspects alone), with the states of
// KTHREAD_STATE and KWAIT_REASON; process times; CheckRemoteDebuggerPresent.
//
// There are no cgroups. A process that its job has frozen, as store apps are, looks
// like one that was suspended by hand: a hang. Nobody says how long a thread has
// waited for a processor.

// States and wait reasons of threads.
const (
	threadReady, threadRunning, threadStandby            = 1, 2, 3
	threadWaiting, threadTransition, threadDeferredReady = 5, 6, 7

	waitFreePage, waitPageIn, waitSuspended       = 1, 2, 5
	waitWrFreePage, waitWrPageIn, waitWrSuspended = 8, 9, 12
)

// systemThread is SYSTEM_THREAD_INFORMATION.
type systemThread struct {
	kernel, user, created int64
	waited                uint32
	start                 uintptr
	process, thread       uintptr
	priority, base        int32
	switches              uint32
	state, reason         uint32
}

var checkRemoteDebuggerPresent = kernel32.NewProc("CheckRemoteDebuggerPresent")

// Examine looks at the process once. ErrGone: it is dead.
func (h *Handle) Examine() (Examination, error) {
	h.sys.mu.RLock() // the open handle keeps the number from being used again
	defer h.sys.mu.RUnlock()
	switch {
	case h.isDone():
		return Examination{}, fmt.Errorf("%v: %w", h.id, ErrGone)
	case h.sys.closed:
		return Examination{}, ErrClosed
	}
	x := Examination{FrozenKnown: true, RunDelay: -1, Throttled: -1}
	if err := x.countThreads(uintptr(h.id.PID)); err != nil {
		return Examination{}, fmt.Errorf("%v: its threads cannot be seen: %w", h.id, err)
	}
	var start, end, kernel, user windows.Filetime
	if windows.GetProcessTimes(h.sys.process, &start, &end, &kernel, &user) == nil {
		x.CPU, x.CPUKnown = duration(kernel)+duration(user), true
	}
	if traced(h.id.PID) {
		x.Tracer = Tracer{Name: "a debugger"}
	}
	return x, nil
}

// duration reads a length of time, which comes in units of 100 ns.
func duration(t windows.Filetime) time.Duration {
	return time.Duration(uint64(t.HighDateTime)<<32|uint64(t.LowDateTime)) * 100
}

// traced asks whether a debugger is attached; which one is not told.
func traced(pid int) bool {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_INFORMATION, false, uint32(pid))
	if err != nil {
		return false
	}
	defer windows.CloseHandle(process)
	var attached int32
	ok, _, _ := checkRemoteDebuggerPresent.Call(uintptr(process), uintptr(unsafe.Pointer(&attached)))
	return ok != 0 && attached != 0
}

func (x *Examination) countThreads(pid uintptr) error {
	list, err := processList()
	if err != nil {
		return err
	}
	for at := uintptr(0); ; {
		p := (*windows.SYSTEM_PROCESS_INFORMATION)(unsafe.Pointer(&list[at]))
		if p.UniqueProcessID == pid {
			first := at + unsafe.Sizeof(*p)
			for i := range uintptr(p.NumberOfThreads) {
				t := (*systemThread)(unsafe.Pointer(&list[first+i*unsafe.Sizeof(systemThread{})]))
				x.count(t.state, t.reason)
			}
			return nil
		}
		if p.NextEntryOffset == 0 {
			return ErrGone
		}
		at += uintptr(p.NextEntryOffset)
	}
}

func (x *Examination) count(state, reason uint32) {
	x.Threads++
	switch state {
	case threadReady, threadRunning, threadStandby, threadTransition, threadDeferredReady:
		x.Runnable++
	case threadWaiting:
		switch reason {
		case waitFreePage, waitPageIn, waitWrFreePage, waitWrPageIn:
			x.Blocked++
		case waitSuspended, waitWrSuspended:
			x.Stopped++
		}
	}
}

// processList grows its buffer until the list fits.
func processList() ([]byte, error) {
	for size := uint32(256 << 10); ; {
		words := make([]uint64, size/8) // aligned
		list := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
		var needed uint32
		err := windows.NtQuerySystemInformation(windows.SystemProcessInformation, unsafe.Pointer(&words[0]), size, &needed)
		if err != windows.STATUS_INFO_LENGTH_MISMATCH {
			return list, err
		}
		size = (max(needed, size) + 64<<10) &^ 7
	}
}
