package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func examine(t *testing.T, h *Handle) Examination {
	t.Helper()
	x, err := h.Examine()
	must(t, err)
	return x
}

// examineUntil examines until the look is as wanted, and fails with the last one.
func examineUntil(t *testing.T, h *Handle, what string, ok func(Examination) bool) Examination {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		x := examine(t, h)
		if ok(x) {
			return x
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not seen after 20 s: %s; the last look: %+v", what, x)
		}
	}
}

// looks examines n times, 5 ms apart.
func looks(t *testing.T, h *Handle, n int) []Examination {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var all []Examination
	for range n {
		all = append(all, examine(t, h))
		<-tick.C
	}
	return all
}

func runnable(all []Examination) (n int) {
	for _, x := range all {
		if x.Runnable > 0 {
			n++
		}
	}
	return n
}

func used(all []Examination) time.Duration { return all[len(all)-1].CPU - all[0].CPU }

func TestExamineOneThatSleeps(t *testing.T) {
	h := startRole(t, "wait")
	examineUntil(t, h, "all of its threads sleep", func(x Examination) bool {
		return x.Threads > 1 && x.Runnable == 0 && x.Stopped == 0 && x.Tracer == (Tracer{}) && x.Frozen == "" && x.CPUKnown && x.CPU > 0
	})
	// Go's own housekeeping wakes now and then.
	if all := looks(t, h, 40); runnable(all) > 10 || used(all) > 20*time.Millisecond {
		t.Errorf("it sleeps, but wants to run in %d of 40 looks and used %v", runnable(all), used(all))
	}
}

func TestExamineOneThatSpins(t *testing.T) {
	h := startRole(t, "spin 1")
	examineUntil(t, h, "a thread runs", func(x Examination) bool { return x.Runnable > 0 })
	first := examine(t, h)
	x := examineUntil(t, h, "it uses time", func(x Examination) bool { return x.CPU > first.CPU+50*time.Millisecond })
	if x.Runnable == 0 {
		t.Error("it spins, but no thread of it wants to run")
	}
}

func TestExamineOneThatIsStopped(t *testing.T) {
	for _, role := range []string{"wait", "spin 1", "spin 3"} {
		t.Run(role, func(t *testing.T) {
			h := startRole(t, role)
			examineUntil(t, h, "it is there", func(x Examination) bool { return x.Threads > 1 })
			must(t, h.Signal(syscall.SIGSTOP))
			x := examineUntil(t, h, "all threads are stopped", func(x Examination) bool { return x.Stopped == x.Threads })
			if x.Tracer != (Tracer{}) || x.Runnable != 0 {
				t.Errorf("nobody traces it, the look is %+v", x)
			}
		})
	}
}

func TestExamineOneThatIsTraced(t *testing.T) {
	for _, role := range []string{"tracer", "attacher"} {
		t.Run(role, func(t *testing.T) {
			h := startRole(t, "wait")
			tracer := newPlayer(t, role+" "+strconv.Itoa(h.PID()))
			if said := tracer.line(t); said != "<nil>" {
				t.Skipf("tracing is not permitted here: %s", said)
			}
			x := examineUntil(t, h, "it is traced", func(x Examination) bool { return x.Tracer.PID == tracer.process.Pid })
			if x.Tracer.Name == "" {
				t.Error("the tracer has no name")
			}
			tracer.goOn(t)
			examineUntil(t, h, "it is traced no more", func(x Examination) bool { return x.Tracer.PID == 0 })
		})
	}
}

func TestTracerInWords(t *testing.T) {
	for want, tracer := range map[string]Tracer{
		"": {}, "process 7": {PID: 7}, "gdb (process 7)": {PID: 7, Name: "gdb"},
	} {
		if got := tracer.String(); got != want {
			t.Errorf("%#v is %q, want %q", tracer, got, want)
		}
	}
}

func TestExamineOneThatIsGone(t *testing.T) {
	h := startRole(t, "exit 0")
	wantDone(t, h)
	_, err := h.Examine()
	wantGone(t, err)
	parent := newPlayer(t, "parent exit 0") // a zombie until its parent goes on
	zombie, err := Open(parent.number(t))
	must(t, err)
	defer zombie.Close()
	wantDone(t, zombie)
	_, err = zombie.Examine()
	wantGone(t, err)
}

// One whose leader thread has ended lives in the others.
func TestExamineOneWithoutLeader(t *testing.T) {
	p := newPlayer(t, "leaderless")
	p.line(t)
	h, err := Open(p.process.Pid)
	must(t, err)
	defer h.Close()
	if x := examine(t, h); x.Threads == 0 {
		t.Errorf("it lives, the look is %+v", x)
	}
}

// testCgroup makes a cgroup of the hierarchy, or skips the test.
func testCgroup(t *testing.T, unified bool, controller string) (folder, group string) {
	t.Helper()
	i := slices.IndexFunc(cgroupMounts(), func(m cgroupMount) bool {
		return m.unified == unified && (unified || slices.Contains(m.controllers, controller))
	})
	if i < 0 {
		t.Skip("no such hierarchy is mounted here")
	}
	m := cgroupMounts()[i]
	folder, err := os.MkdirTemp(m.point, "pairguard-test")
	if err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	t.Cleanup(func() {
		eventually(t, folder+" is empty and removed", func() bool { return os.Remove(folder) == nil })
	})
	return folder, filepath.Join(m.root, filepath.Base(folder))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	must(t, os.WriteFile(file, []byte(text), 0))
}

func TestExamineOneThatIsFrozen(t *testing.T) {
	for _, c := range []struct {
		hierarchy, file, freeze, thaw string
		unified                       bool
	}{
		{"v1", "freezer.state", "FROZEN", "THAWED", false},
		{"v2", "cgroup.freeze", "1", "0", true},
	} {
		t.Run(c.hierarchy, func(t *testing.T) {
			folder, group := testCgroup(t, c.unified, "freezer")
			inner := filepath.Join(folder, "inner")
			must(t, os.Mkdir(inner, 0o755))
			t.Cleanup(func() { eventually(t, inner+" is removed", func() bool { return os.Remove(inner) == nil }) })
			if _, err := os.Stat(filepath.Join(folder, c.file)); err != nil {
				t.Skipf("it cannot freeze: %v", err)
			}
			h := startRole(t, "spin 1")
			write(t, inner+"/cgroup.procs", strconv.Itoa(h.PID()))
			if x := examine(t, h); x.Frozen != "" || !x.FrozenKnown {
				t.Errorf("before: frozen by %q, known %v", x.Frozen, x.FrozenKnown)
			}
			defer write(t, filepath.Join(folder, c.file), c.thaw) // or it could not be killed
			write(t, filepath.Join(folder, c.file), c.freeze)
			x := examineUntil(t, h, "it is frozen", func(x Examination) bool { return x.Frozen != "" })
			if x.Frozen != group {
				t.Errorf("frozen by %q, want the outer cgroup %q", x.Frozen, group)
			}
			write(t, filepath.Join(folder, c.file), c.thaw)
			examineUntil(t, h, "it is thawed", func(x Examination) bool { return x.Frozen == "" })
		})
	}
}

// starve gives the process the least, and what is left of its processor to others.
func starve(t *testing.T, h *Handle) {
	t.Helper()
	confine(t, h.PID())
	for range 4 {
		busy := startRole(t, "spin 1")
		examineUntil(t, busy, "it spins", func(x Examination) bool { return x.Runnable > 0 })
		confine(t, busy.PID())
		niceSession(busy.PID(), -20)
		for _, tid := range threads(t, busy.PID()) {
			if err := unix.Setpriority(unix.PRIO_PROCESS, tid, -20); err != nil {
				t.Skipf("it cannot be starved here: %v", err)
			}
		}
	}
	niceSession(h.PID(), 19)
	for _, tid := range threads(t, h.PID()) {
		must(t, unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0))
	}
}

// niceSession weighs the session of the process against other sessions, where the
// kernel shares the processors among these first (autogroup, sched(7)).
func niceSession(pid, nice int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(nice)), 0)
}

func threads(t *testing.T, pid int) (tids []int) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	must(t, err)
	for _, e := range entries {
		tid, _ := strconv.Atoi(e.Name())
		tids = append(tids, tid)
	}
	return tids
}

// confine puts all threads on one processor.
func confine(t *testing.T, pid int) {
	t.Helper()
	var all, last unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	for i := range len(all) * strconv.IntSize {
		if all.IsSet(i) {
			last.Zero()
			last.Set(i)
		}
	}
	for _, tid := range threads(t, pid) {
		must(t, unix.SchedSetaffinity(tid, &last))
	}
}

func TestExamineOneThatStarves(t *testing.T) {
	if testing.Short() || runtime.NumCPU() < 2 {
		t.Skip("takes a processor for a second")
	}
	h := startRole(t, "spin 1")
	examineUntil(t, h, "it spins", func(x Examination) bool { return x.Runnable > 0 })
	starve(t, h)
	all := looks(t, h, 60)
	if runnable(all) < 55 {
		t.Errorf("it wants to run, but looks so in %d of 60 looks only", runnable(all))
	}
	if used(all) > 20*time.Millisecond {
		t.Errorf("it starves, but used %v", used(all))
	}
}

// A quota that is used up is named; the numbers come when the period is over.
func TestExamineOneThatIsThrottled(t *testing.T) {
	folder, group := testCgroup(t, false, "cpu")
	if _, err := os.Stat(folder + "/cpu.cfs_quota_us"); err != nil {
		t.Skipf("there are no quotas: %v", err)
	}
	h := startRole(t, "spin 1")
	before := examine(t, h)
	write(t, folder+"/cpu.cfs_period_us", "20000")
	write(t, folder+"/cpu.cfs_quota_us", "1000")
	write(t, folder+"/cgroup.procs", strconv.Itoa(h.PID()))
	x := examineUntil(t, h, "it is throttled", func(x Examination) bool { return x.Throttled > before.Throttled && x.Throttled > 0 })
	if x.ThrottledBy != group {
		t.Errorf("throttled by %q, want %q", x.ThrottledBy, group)
	}
	if x.RunDelay < 0 {
		t.Error("the time waited for a processor is unknown")
	}
}

func TestParseMount(t *testing.T) {
	for line, want := range map[string]string{
		"30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate":                   "/ /sys/fs/cgroup [] true",
		`31 23 0:27 /docker/a\040b /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct`: "/docker/a b /sys/fs/cgroup/cpu [rw cpu cpuacct] false",
		"32 23 0:28 / /proc rw - proc proc rw":                                                    "",
		"nonsense":                                                                                "",
		"33 23 0:29 / /x rw":                                                                      "",
		"34 23 0:26 / /sys/fs/cgroup/freezer rw,relatime shared:4 master:2 - cgroup c rw,freezer,name=x": "/ /sys/fs/cgroup/freezer [rw freezer name=x] false",
	} {
		m, ok := parseMount(line)
		got := ""
		if ok {
			got = fmt.Sprint(m.root, " ", m.point, " ", m.controllers, " ", m.unified)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
}

func BenchmarkExamine(b *testing.B) {
	h, err := Open(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	for b.Loop() {
		if _, err := h.Examine(); err != nil {
			b.Fatal(err)
		}
	}
}
