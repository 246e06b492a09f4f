package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	stopSignal = syscall.SIGSTOP
	killSignal = syscall.SIGKILL
	// scanPause is the time between two looks at /proc.
	scanPause = 5 * time.Millisecond
)

// Process is a live process of a stage, as /proc shows it.
type Process struct {
	PID    int
	Parent int
	State  string // R, S, D, T ...
	Args   []string
	// Forked: it has not become a program of its own yet, what /proc tells of it
	// is its parent's (PF_FORKNOEXEC of the kernel's include/linux/sched.h).
	Forked bool
}

// forkedNoExec is PF_FORKNOEXEC in the flags of /proc/PID/stat, proc_pid_stat(5).
const forkedNoExec = 0x40

func (p Process) String() string {
	return fmt.Sprintf("%d %s %s", p.PID, p.State, strings.Join(p.Args, " "))
}

// Is reports whether it was started as that program, with these first arguments.
func (p Process) Is(program string, args ...string) bool {
	if len(p.Args) <= len(args) || filepath.Base(p.Args[0]) != filepath.Base(program) {
		return false
	}
	for i, a := range args {
		if p.Args[i+1] != a {
			return false
		}
	}
	return true
}

// Signal sends a signal. A process that is gone needs none.
func (p Process) Signal(sig syscall.Signal) error {
	err := syscall.Kill(p.PID, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Processes are the live processes of the stage; one that is dead but not reaped
// does not count.
func (s *Stage) Processes() ([]Process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	mark := []byte("\x00" + markVariable + "=" + s.Root + "\x00")
	var found []Process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := inspect(pid, mark); ok {
			found = append(found, p)
		}
	}
	return found, nil
}

// inspect reads one process; what ends meanwhile is not there.
func inspect(pid int, mark []byte) (Process, bool) {
	folder := "/proc/" + strconv.Itoa(pid) + "/"
	environ, err := os.ReadFile(folder + "environ")
	if err != nil || !bytes.Contains(append([]byte{0}, environ...), mark) {
		return Process{}, false
	}
	cmdline, err := os.ReadFile(folder + "cmdline")
	if err != nil || len(cmdline) == 0 {
		return Process{}, false
	}
	stat, err := os.ReadFile(folder + "stat")
	if err != nil {
		return Process{}, false
	}
	var p Process
	var group, session, tty, foreground, flags int
	// The name before the last bracket may hold anything.
	afterName := string(stat[bytes.LastIndexByte(stat, ')')+1:])
	_, err = fmt.Sscan(afterName, &p.State, &p.Parent, &group, &session, &tty, &foreground, &flags)
	if err != nil || p.State == "Z" || p.State == "X" {
		return Process{}, false
	}
	p.PID, p.Forked = pid, flags&forkedNoExec != 0
	p.Args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	return p, true
}

// AwaitProcesses looks at the stage's processes until they are as wanted.
func (s *Stage) AwaitProcesses(ctx context.Context, want string, ok func([]Process) bool) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	tick := time.NewTicker(scanPause)
	defer tick.Stop()
	for {
		now, err := s.Processes()
		if err != nil {
			return err
		}
		if ok(now) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not seen: %s; there are %d processes: %v: %w", want, len(now), now, context.Cause(ctx))
		}
	}
}

// AwaitGone waits until a process that is no child of ours has ended.
func AwaitGone(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if !alive(pid) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("process %d has not ended: %w", pid, ctx.Err())
		}
	}
}

// alive: it exists and is not merely waiting to be reaped.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	i := bytes.LastIndexByte(stat, ')')
	return err == nil && i >= 0 && i+2 < len(stat) && stat[i+2] != 'Z' && stat[i+2] != 'X'
}
