package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// load is what takes the processor away: busy processes in a cgroup of their own,
// with the processes that are to starve. In the root cgroup the kernel would share
// the processors among sessions first (autogroup, sched(7)), and the pair would
// not starve; here it cannot take them from the rest of the machine either.
type load struct {
	folder string
	quota  string // the file of the quota
	busy   []*exec.Cmd
}

func newLoad() (*load, error) {
	for _, m := range []struct{ parent, quota string }{
		{"/sys/fs/cgroup/cpu", "cpu.cfs_quota_us"}, {"/sys/fs/cgroup/cpu,cpuacct", "cpu.cfs_quota_us"}, {"/sys/fs/cgroup", "cpu.max"},
	} {
		if _, err := os.Stat(filepath.Join(m.parent, "cgroup.procs")); err != nil {
			continue
		}
		if m.quota == "cpu.max" {
			_ = os.WriteFile(filepath.Join(m.parent, "cgroup.subtree_control"), []byte("+cpu"), 0)
		}
		folder, err := os.MkdirTemp(m.parent, "pairguard-starve-")
		if err != nil {
			return nil, &cannot{fmt.Errorf("no cgroup can be made (%w): run it as root", err)}
		}
		l := &load{folder: folder, quota: filepath.Join(folder, m.quota)}
		if _, err := os.Stat(l.quota); err != nil {
			return nil, errors.Join(&cannot{err}, os.Remove(folder))
		}
		return l, nil
	}
	return nil, &cannot{errors.New("there is no cgroup hierarchy for the processor")}
}

// join takes a process, with all of its threads, into the cgroup.
func (l *load) join(pid int) error {
	return os.WriteFile(filepath.Join(l.folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// limit sets the quota, for each second.
func (l *load) limit(quota time.Duration) error {
	us := strconv.FormatInt(quota.Microseconds(), 10)
	if strings.HasSuffix(l.quota, "cpu.max") {
		return os.WriteFile(l.quota, []byte(us+" 1000000"), 0)
	}
	period := filepath.Join(l.folder, "cpu.cfs_period_us")
	return errors.Join(os.WriteFile(period, []byte("1000000"), 0), os.WriteFile(l.quota, []byte(us), 0))
}

func (l *load) unlimit() error {
	if strings.HasSuffix(l.quota, "cpu.max") {
		return os.WriteFile(l.quota, []byte("max 1000000"), 0)
	}
	return os.WriteFile(l.quota, []byte("-1"), 0)
}

// burn starts n busy processes.
func (l *load) burn(n, nice int) error {
	for range n {
		cmd := exec.Command("/bin/sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			return err
		}
		l.busy = append(l.busy, cmd)
		if err := unix.Setpriority(unix.PRIO_PROCESS, cmd.Process.Pid, nice); err != nil {
			return &cannot{fmt.Errorf("no priority above others: %w", err)}
		}
		if err := l.join(cmd.Process.Pid); err != nil {
			return err
		}
	}
	return nil
}

// release ends the busy processes; the cgroup stays.
func (l *load) release() error {
	for _, cmd := range l.busy {
		_ = cmd.Process.Kill()
	}
	for _, cmd := range l.busy {
		_ = cmd.Wait()
	}
	l.busy = nil
	return l.unlimit()
}

// remove removes the cgroup once everything in it has ended.
func (l *load) remove() error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := os.Remove(l.folder)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// least puts all threads of a process into the least scheduling class.
func least(pid int) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, _ := strconv.Atoi(t.Name())
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
		if err := unix.SchedSetAttr(tid, &attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("SCHED_IDLE for thread %d: %w", tid, err)
		}
	}
	return nil
}
