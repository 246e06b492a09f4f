package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/proc"
)

// excusedTime is how long a peer is kept from running: long enough to be judged twice.
const excusedTime = 6 * time.Second

// eachExcuse runs the test with the pairs in which B is kept from running and A, the class, looks.
func eachExcuse(t *testing.T, test func(s *scene)) {
	eachClassPair(t, func(s *scene) {
		s.together("A")
		test(s)
	})
}

// excused keeps B from running and lets it go: A says why it is late, judges nobody, and both go on as if nothing had been.
func (s *scene) excused(reason string, keep, release func(b proc.ID)) {
	s.t.Helper()
	a, b := s.one("A"), s.one("B")
	keep(b)
	if e := s.told("A", pairguard.PeerLate); !strings.Contains(e.Reason, reason) {
		s.t.Errorf("late because %q, want %q", e.Reason, reason)
	}
	both := func() bool { return s.one("A") == a && s.one("B") == b }
	s.throughout("both live", excusedTime, both)
	release(b)
	s.eventually("A says that B is up", patience, func() bool { return s.status("A").Phase == "up" })
	s.throughout("both live on", 3*time.Second, both)
	if n := s.count(pairguard.PeerHung, pairguard.PeerDead); n != 0 {
		s.t.Errorf("%d judgements of a peer that could not run", n)
	}
}

// TestClassDebugger: a peer that stands in a debugger is not judged, and works on when that lets it go.
func TestClassDebugger(t *testing.T) {
	eachExcuse(t, func(s *scene) {
		var debugger *tracer
		s.excused("a debugger has hold of it", func(b proc.ID) { debugger = s.trace(b) }, func(proc.ID) { debugger.release() })
	})
}

// tracer has hold of a process as a debugger has.
type tracer struct{ held, gone chan struct{} }

// trace stops all threads of the process. The kernel lets them go when the thread that traces them ends.
func (s *scene) trace(id proc.ID) *tracer {
	s.t.Helper()
	d := &tracer{make(chan struct{}), make(chan struct{})}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		defer close(d.gone)
		result <- seize(id.PID)
		<-d.held
	}()
	s.t.Cleanup(d.release)
	if err := <-result; errors.Is(err, unix.EPERM) {
		s.t.Skipf("missing tool: the right to trace other processes: %v", err)
	} else if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func seize(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, thread := range threads {
		tid, _ := strconv.Atoi(filepath.Base(thread))
		if err := unix.PtraceSeize(tid); err != nil {
			return err
		}
		if err := unix.PtraceInterrupt(tid); err != nil {
			return err
		}
	}
	return err
}

func (d *tracer) release() {
	select {
	case <-d.held:
	default:
		close(d.held)
	}
	<-d.gone
}

// TestClassFrozen: nor is one whose cgroup is frozen.
func TestClassFrozen(t *testing.T) {
	eachExcuse(t, func(s *scene) {
		folder, v1 := s.cgroup("/sys/fs/cgroup/freezer", "freezer.state", "cgroup.freeze")
		file, freeze, thaw := "cgroup.freeze", "1", "0"
		if v1 {
			file, freeze, thaw = "freezer.state", "FROZEN", "THAWED"
		}
		s.t.Cleanup(func() { os.WriteFile(filepath.Join(folder, file), []byte(thaw), 0) })
		s.excused("frozen", func(b proc.ID) {
			s.must(put(folder, "cgroup.procs", strconv.Itoa(b.PID)))
			s.must(put(folder, file, freeze))
		}, func(proc.ID) { s.must(put(folder, file, thaw)) })
	})
}

// TestClassStarved: nor is one that gets no processor. A busy process beside it uses up what their cgroup may have, 1 ms in a
// second, so that the machine has nothing of it.
func TestClassStarved(t *testing.T) {
	eachExcuse(t, func(s *scene) {
		folder, v1 := s.cgroup("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "cpu.max")
		busy := exec.Command("/bin/sh", "-c", "while :; do :; done")
		s.must(busy.Start())
		s.t.Cleanup(func() { busy.Process.Kill(); busy.Wait() })
		limit := func(v1Quota, v2Quota string) {
			if v1 {
				s.must(put(folder, "cpu.cfs_period_us", "1000000"))
				s.must(put(folder, "cpu.cfs_quota_us", v1Quota))
			} else {
				s.must(put(folder, "cpu.max", v2Quota+" 1000000"))
			}
		}
		s.excused("it waits for a processor", func(b proc.ID) {
			for _, pid := range []int{busy.Process.Pid, b.PID} {
				s.must(put(folder, "cgroup.procs", strconv.Itoa(pid)))
			}
			limit("1000", "1000")
		}, func(proc.ID) { limit("-1", "max") })
	})
}

func put(folder, file, text string) error {
	return os.WriteFile(filepath.Join(folder, file), []byte(text), 0)
}

// cgroup makes a cgroup that has the first file (below v1) or the second (version 2), which takes a right that few have.
func (s *scene) cgroup(v1, first, second string) (folder string, isV1 bool) {
	s.t.Helper()
	for _, at := range []struct{ parent, file string }{{v1, first}, {"/sys/fs/cgroup", second}} {
		folder, err := os.MkdirTemp(at.parent, "pairguard-test")
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(folder, at.file)); err != nil {
			os.Remove(folder)
			continue
		}
		// It is empty only after the scene's end, and that is the last thing which runs, so everybody moves out.
		s.t.Cleanup(func() {
			members, _ := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
			for _, pid := range strings.Fields(string(members)) {
				put(at.parent, "cgroup.procs", pid)
			}
			s.eventually("the cgroup can be removed", patience, func() bool { return os.Remove(folder) == nil })
		})
		return folder, at.parent == v1
	}
	s.t.Skip("no cgroup can be made here")
	return "", false
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestClassDisk: nor is one that waits inside the kernel, for a while; that wait ends by itself here.
func TestClassDisk(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.single = []string{"A", "B"}
	for _, names := range []string{"AB", "BA"} {
		self, peer := names[:1], names[1:]
		s.play(self, qtBuild.program(t, "qtmember"), self, peer, s.script(peer))
	}
	s.together("A")
	s.excused("it waits inside the kernel", func(b proc.ID) { s.signal(b, syscall.SIGUSR2) }, func(proc.ID) {})
}

// TestClassOwnLateness: who could not listen has not heard silence. Both stand still at the same time, as on a machine that
// swaps; A goes on first, and B speaks only a while later.
func TestClassOwnLateness(t *testing.T) {
	eachExcuse(t, func(s *scene) {
		a, b := s.one("A"), s.one("B")
		both := func() bool { return s.one("A") == a && s.one("B") == b }
		for range 2 {
			s.signal(b, syscall.SIGSTOP)
			s.signal(a, syscall.SIGSTOP)
			s.throughout("both stand still", 4*time.Second, both)
			s.signal(a, syscall.SIGCONT)
			if !s.patient(both) {
				return
			}
			s.signal(b, syscall.SIGCONT)
			s.throughout("both live on", 3*time.Second, both)
		}
		if n := s.count(pairguard.PeerHung, pairguard.PeerDead); n != 0 {
			s.t.Errorf("%d judgements by one that could not listen", n)
		}
	})
}

// patient sees that A, which has just gone on, gives B a whole timeout; false: this test itself was held up for so long that
// A may have judged B by right, and nothing can be said.
func (s *scene) patient(both func() bool) bool {
	s.t.Helper()
	const timeout = 2 * time.Second
	resumed := time.Now()
	for time.Since(resumed) < time.Second {
		unharmed := both()
		switch late := time.Since(resumed) > timeout-100*time.Millisecond; {
		case unharmed:
		case late:
			s.t.Log("the test was held up, and cannot say whether A waited for B")
			return false
		default:
			s.t.Fatalf("A did not wait for B: it judged %v after it went on", time.Since(resumed))
		}
		<-time.After(look)
	}
	return time.Since(resumed) < timeout-100*time.Millisecond
}

// TestClassCtrlZ: Ctrl-Z is a hold; it ends when the process goes on, and then it is judged as before.
func TestClassCtrlZ(t *testing.T) {
	eachExcuse(t, func(s *scene) {
		a, b := s.one("A"), s.one("B")
		s.signal(a, syscall.SIGTSTP)
		s.told("B", pairguard.Held)
		s.throughout("a suspended member lives", excusedTime, func() bool { return s.one("A") == a && s.one("B") == b })
		s.signal(a, syscall.SIGCONT)
		s.told("B", pairguard.Unheld)
		s.eventually("both say that the other is up", patience, func() bool { return s.status("A").Phase == "up" && s.status("B").Phase == "up" })
		s.signal(a, syscall.SIGSTOP)
		s.replaced("A", a, hangTime)
		s.told("A", pairguard.PeerUp)
		s.settled("A", "B")
	})
}

// TestClassStartInADebugger: a peer that is started and does not take its name is ended after the start timeout, but not while
// somebody looks at its start in a debugger.
func TestClassStartInADebugger(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.single = []string{"A", "B"}
	s.play("A", qtBuild.program(t, "qtmember"), "A", "B", s.script("B"))
	s.play("B", build(t).pairguard, "guard", "B", "A", "--", s.script("A"))
	s.together("A")
	old := s.one("B")
	s.play("B", "sleep", "1000")
	s.signal(old, syscall.SIGKILL)
	s.replaced("B", old, patience)
	idle := s.one("B")
	debugger := s.trace(idle)
	s.told("A", pairguard.PeerLate)
	s.throughout("it lives", 3*time.Second, func() bool { return s.one("B") == idle })
	debugger.release()
	s.replaced("B", idle, patience)
	s.told("A", pairguard.PeerFenced)
}

// TestClassAtAddresses: names may be where QLocalServer puts them, or paths.
func TestClassAtAddresses(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"qt:%s", "/%s"} {
		for _, other := range []string{"Qt", "Go"} {
			t.Run(strings.TrimSuffix(kind, "%s")+other, func(t *testing.T) {
				t.Parallel()
				member := qtBuild.program(t, "qtmember")
				s := newScene(t)
				a, b := fmt.Sprintf(kind, "主 A"), fmt.Sprintf(kind, "B")
				if kind[0] == '/' {
					a, b = s.root+a, s.root+b+strings.Repeat("b", 60)
				}
				s.single = []string{"A", "B"}
				s.play("A", member, a, b, s.script("B"))
				s.play("B", member, b, a, s.script("A"))
				if other == "Go" {
					s.play("B", build(t).pairguard, "guard", b, a, "--", s.script("A"))
				}
				s.start("A")
				s.told(a, pairguard.PeerUp)
				s.told(b, pairguard.PeerUp)
				for _, victim := range []string{"A", "B"} {
					s.act()
					old := s.one(victim)
					s.signal(old, syscall.SIGKILL)
					s.replaced(victim, old, patience)
					s.told(a, pairguard.PeerUp)
					s.told(b, pairguard.PeerUp)
					s.settled("A", "B")
				}
				if code, out := (&stage{scene: s}).exitCode("A"); code != 100 {
					t.Errorf("a second one ended with %d: %s", code, out)
				}
				s.stopped()
			})
		}
	}
}
