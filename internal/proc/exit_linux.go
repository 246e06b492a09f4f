package proc

import (
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Relies on: waitid(P_PIDFD) with WNOWAIT for children (Linux 5.4), the zombie's
// exit code in /proc/PID/stat for others, and PIDFD_GET_INFO with PIDFD_INFO_EXIT
// (6.15) once whoever is the parent has reaped it. What none of them can answer
// is unknown.

// childExited is CLD_EXITED: si_status is an exit code. Every other end is a signal.
const childExited = 1

// childInfo is siginfo_t as waitid fills it in. The fields after the first three
// begin at the next multiple of a word.
type childInfo struct {
	_      [3]int32
	fields struct {
		_      [0]uintptr
		pid    int32
		_      uint32
		status int32
	}
	_ [112]byte
}

// wait asks for the end of a child; ended is false when it is not dead or not
// ours to know. options: WNOWAIT leaves it unreaped.
func wait(idType, id, options int) (status ExitStatus, ended bool, err error) {
	var info childInfo
	general := (*unix.Siginfo)(unsafe.Pointer(&info))
	_, err = retry(func() (struct{}, error) {
		return struct{}{}, unix.Waitid(idType, id, general, unix.WEXITED|options, nil)
	})
	if err != nil || info.fields.pid == 0 {
		return ExitStatus{}, false, err
	}
	value := int(info.fields.status)
	if general.Code == childExited {
		return ExitStatus{Known: true, Code: value}, true, nil
	}
	return killedBy(unix.Signal(value)), true, nil
}

// statusOf translates a wait(2) status.
func statusOf(w unix.WaitStatus) ExitStatus {
	switch {
	case w.Exited():
		return ExitStatus{Known: true, Code: w.ExitStatus()}
	case w.Signaled():
		return killedBy(w.Signal())
	}
	return ExitStatus{}
}

func killedBy(s unix.Signal) ExitStatus {
	name := strings.TrimPrefix(unix.SignalName(s), "SIG")
	if name == "" {
		name = strconv.Itoa(int(s)) // real-time signals have no names
	}
	return ExitStatus{Known: true, Signal: name}
}

// exitStatus finds out how a dead process ended, without reaping it.
func (h *Handle) exitStatus() ExitStatus {
	if e, ended, _ := wait(unix.P_PIDFD, h.sys.pidfd, unix.WNOHANG|unix.WNOWAIT); ended {
		return e
	}
	if e := zombieStatus(h.id); e.Known {
		return e
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(h.sys.pidfd, &info); err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
		return statusOf(unix.WaitStatus(uint32(info.Exit_code)))
	}
	return ExitStatus{}
}

// zombieStatus reads the exit code of a process that nobody has reaped yet. The
// kernel shows 0 to those who may not trace it; being able to read its namespace
// link is the same permission.
func zombieStatus(id ID) ExitStatus {
	s, err := readStat(id.PID)
	if err != nil || s.start != id.Start || !s.dead() {
		return ExitStatus{}
	}
	if s.exitCode == 0 {
		if _, err := os.Readlink("/proc/" + strconv.Itoa(id.PID) + "/ns/pid"); err != nil {
			return ExitStatus{}
		}
	}
	return statusOf(unix.WaitStatus(uint32(s.exitCode)))
}

// died is called once, by the watcher, when the pidfd says that the process is
// dead. Done comes before the reaping: whoever waits for the death need not wait
// for the burial.
func (h *Handle) died() {
	h.finish(h.exitStatus())
	if h.sys.child && !h.reap() {
		// Somebody traces it, and the tracer gets to see the end first.
		go h.reapLater()
		return
	}
	h.release()
}

// reap reports whether there is nothing left to reap: done, or done by the host
// program (ECHILD).
func (h *Handle) reap() bool {
	_, ended, err := wait(unix.P_PIDFD, h.sys.pidfd, unix.WNOHANG)
	return ended || err != nil
}

func (h *Handle) reapLater() {
	for delay := 10 * time.Millisecond; !h.reap(); delay = min(2*delay, 10*time.Second) {
		time.Sleep(delay)
	}
	h.release()
}
