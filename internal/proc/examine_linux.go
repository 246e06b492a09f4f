package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on proc(5): /proc/PID/task/TID/status (State, TracerPid) and schedstat
// (field 2: nanoseconds spent waiting, CONFIG_SCHEDSTATS not needed), and on the
// clock of a whole process (clock_getcpuclockid(3)), which anybody may read.

// Examine looks at the process once. It costs a few short reads in /proc for each
// thread and a few more for the cgroups; nothing is prepared and nothing runs on.
// ErrGone: it is dead. Any other error says that it could not be looked at, which
// is no evidence of anything.
func (h *Handle) Examine() (Examination, error) {
	x := Examination{RunDelay: -1, Throttled: -1}
	pid := h.id.PID
	if err := x.readThreads(pid); err != nil {
		return Examination{}, h.unexaminable(err)
	}
	x.readCPU(pid)
	x.readCgroups(pid)
	// What was read is of this process only if it has not been dead all the while.
	if err := h.signal(syscall.Signal(0)); err != nil && !errors.Is(err, unix.EPERM) {
		return Examination{}, h.unexaminable(err)
	}
	if x.Threads == 0 {
		return Examination{}, h.unexaminable(ErrGone)
	}
	return x, nil
}

func (h *Handle) unexaminable(err error) error {
	return fmt.Errorf("cannot examine %v: %w", h.id, err)
}

// readThreads reads what every thread does.
func (x *Examination) readThreads(pid int) error {
	folder := "/proc/" + strconv.Itoa(pid) + "/task/"
	dir, err := os.Open(folder)
	if err != nil {
		return statError(folder, errnoOf(err))
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return statError(folder, errnoOf(err))
	}
	var buf [4096]byte
	tracer := 0
	for _, tid := range names {
		status, err := readShort(folder+tid+"/status", buf[:])
		switch {
		case err == unix.ENOENT || err == unix.ESRCH:
			continue // a thread that has just ended
		case err != nil:
			return statError(folder+tid+"/status", err)
		}
		tracer = max(tracer, x.countThread(status))
		if line, err := readShort(folder+tid+"/schedstat", buf[:]); err == nil {
			x.addRunDelay(line)
		}
	}
	if tracer != 0 {
		x.Tracer = nameTracer(tracer)
	}
	return nil
}

// countThread counts one thread by its /proc status and returns its tracer.
func (x *Examination) countThread(status []byte) (tracer int) {
	state := firstOf(statusField(status, "State:"))
	if state == 'Z' || state == 'X' {
		return 0
	}
	x.Threads++
	switch state {
	case 'R':
		x.Runnable++
	case 'D':
		x.Blocked++
	case 'T':
		x.Stopped++
	}
	tracer, _ = strconv.Atoi(string(statusField(status, "TracerPid:")))
	return tracer
}

func (x *Examination) addRunDelay(schedstat []byte) {
	fields := bytes.Fields(schedstat)
	if len(fields) < 2 {
		return
	}
	if ns, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
		x.RunDelay = max(x.RunDelay, 0) + time.Duration(ns)
	}
}

// readCPU reads the processor time of the whole process from its clock, whose
// number is made of the process number (CPUCLOCK_SCHED of the thread group).
func (x *Examination) readCPU(pid int) {
	const schedulerClock = 2
	clock := int32(^pid)<<3 | schedulerClock
	var now unix.Timespec
	if err := unix.ClockGettime(clock, &now); err == nil {
		x.CPU, x.CPUKnown = time.Duration(now.Nano()), true
	}
}

func nameTracer(pid int) Tracer {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return Tracer{PID: pid}
	}
	return Tracer{PID: pid, Name: string(bytes.TrimSpace(name))}
}

// statusField is the value behind a word at the beginning of a line.
func statusField(status []byte, word string) []byte {
	for line := range bytes.Lines(status) {
		if value, found := bytes.CutPrefix(line, []byte(word)); found {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}

func firstOf(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// readShort reads a file that fits into buf with plain calls, for the reason that
// readStatFile gives. The error is the kernel's number.
func readShort(name string, buf []byte) ([]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n, err := retry(func() (int, error) { return unix.Read(fd, buf) })
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// errnoOf is the kernel's number inside an error of package os.
func errnoOf(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
