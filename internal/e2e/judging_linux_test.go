package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// lull is how long a peer is kept from running: 30 s, in which an old habit would
// have killed it ten times.
func lull() time.Duration {
	if testing.Short() {
		return 5 * time.Second
	}
	return 30 * time.Second
}

// judged builds the members that can be made to hang in several ways.
var judged = sync.OnceValue(func() error {
	return stage.Build(context.Background(), command("judged"), "github.com/pairguard/pairguard/bench/starve")
})

// members starts a pair of them.
func (t *trial) members(a, b string, kinds ...string) *stage.Pair {
	t.Helper()
	t.must(judged())
	p := t.pair(a, b)
	var err error
	p.First, err = t.Start(command("judged"), append([]string{"member", a, b, t.Dir}, kinds...)...)
	t.must(err)
	t.must(p.AwaitUp(t.ctx))
	return p
}

// notJudged keeps procB from running and lets it go: it is told late if it is
// suspect, is never judged, and goes on as if nothing had been.
func (t *trial) notJudged(p *stage.Pair, late string, keep, release func(pid int)) {
	t.Helper()
	a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
	keep(b)
	if late != "" {
		e := t.event("procB is told late", sawOf("procA", pairguard.PeerLate, b))
		if !strings.Contains(e.Reason, late) {
			t.Errorf("it is late because %q, want %q", e.Reason, late)
		}
	}
	t.remains("both live", lull(), func(now []stage.Process) bool {
		return p.Observer.Holder("procA") == a && p.Observer.Holder("procB") == b
	})
	release(b)
	t.must(p.AwaitUp(t.ctx))
	t.remains("both live after the release", 3*time.Second, func(now []stage.Process) bool {
		return p.Observer.Holder("procA") == a && p.Observer.Holder("procB") == b
	})
	judged := func(e pairguard.Event) bool {
		return e.Kind == pairguard.PeerHung || e.Kind == pairguard.PeerDead || e.Kind == pairguard.PeerStarted && e.PeerPID != b
	}
	if n := t.count(judged); n > 0 {
		t.Errorf("%d events of a judgement", n)
	}
	if n := t.count(saw("procA", pairguard.PeerLate)); late != "" && n != 1 {
		t.Errorf("told late %d times, want once", n)
	}
	t.stopped(p)
}

func TestDebuggerIsNoHang(t *testing.T) {
	t.Parallel()
	debugger, err := exec.LookPath("gdb")
	if err != nil {
		t.Skipf("there is no debugger here: %v", err)
	}
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	var gdb *exec.Cmd
	attach := func(pid int) {
		gdb = exec.Command(debugger, "-q", "-nx", "-p", strconv.Itoa(pid))
		in, err := gdb.StdinPipe() // as long as it is open gdb waits, and the peer stands
		tr.must(err)
		tr.Cleanup(func() { in.Close() })
		tr.must(gdb.Start())
	}
	tr.notJudged(p, "a debugger has hold of it: gdb (process ", attach, func(int) {
		tr.must(gdb.Process.Signal(syscall.SIGTERM)) // the kernel lets its prey go
		_ = gdb.Wait()
	})
}

func TestFrozenCgroupIsNoHang(t *testing.T) {
	for _, c := range []struct{ hierarchy, parent, file, freeze, thaw string }{
		{"v1", "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"},
		{"v2", unified(), "cgroup.freeze", "1", "0"},
	} {
		t.Run(c.hierarchy, func(t *testing.T) {
			t.Parallel()
			folder, err := os.MkdirTemp(c.parent, "pairguard-test")
			if err != nil {
				t.Skipf("no cgroup can be made here: %v", err)
			}
			state := filepath.Join(folder, c.file)
			if _, err := os.Stat(state); err != nil {
				os.Remove(folder)
				t.Skipf("no cgroup can be frozen here: %v", err)
			}
			// Cleanups run backwards: the trial ends its processes first.
			t.Cleanup(func() { removeCgroup(t, folder) })
			t.Cleanup(func() { os.WriteFile(state, []byte(c.thaw), 0) })
			tr := newTrial(t)
			p := tr.guards("procA", "procB")
			t.Cleanup(func() { os.WriteFile(state, []byte(c.thaw), 0) }) // or a failed test could not end it
			tr.notJudged(p, "its cgroup /"+filepath.Base(folder)+" is frozen", func(pid int) {
				tr.must(os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0))
				tr.must(os.WriteFile(state, []byte(c.freeze), 0))
			}, func(int) { tr.must(os.WriteFile(state, []byte(c.thaw), 0)) })
		})
	}
}

// unified is where the v2 hierarchy is mounted; "/none" if nowhere.
func unified() string {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "/none"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if w := strings.Fields(lines.Text()); len(w) > 2 && w[2] == "cgroup2" {
			return w[1]
		}
	}
	return "/none"
}

func removeCgroup(t *testing.T, folder string) {
	deadline := time.After(stage.Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if os.Remove(folder) == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Errorf("%s cannot be removed", folder)
			return
		}
	}
}

func TestHeldPeerIsNoHang(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	tr.notJudged(p, "", func(pid int) {
		_, err := tr.Command(tr.ctx, "hold", "procB", "--for", "10m")
		tr.must(err)
		tr.event("procA knows of the hold", saw("procA", pairguard.Held))
		tr.must(syscall.Kill(pid, syscall.SIGSTOP))
	}, func(pid int) {
		tr.must(syscall.Kill(pid, syscall.SIGCONT))
		_, err := tr.Command(tr.ctx, "unhold", "procB")
		tr.must(err)
	})
}

func TestCtrlZIsNoHang(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	tr.notJudged(p, "", func(pid int) {
		tr.must(syscall.Kill(pid, syscall.SIGTSTP))
		tr.must(tr.AwaitProcesses(tr.ctx, "it is suspended", func(now []stage.Process) bool {
			for _, q := range now {
				if q.PID == pid {
					return q.State == "T"
				}
			}
			return false
		}))
	}, func(pid int) { tr.must(syscall.Kill(pid, syscall.SIGCONT)) })
}

// One that is killed while Ctrl-Z suspends it was never meant to stay away.
func TestKilledWhileSuspended(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	pid := p.First.PID()
	tr.must(syscall.Kill(pid, syscall.SIGTSTP))
	tr.event("procB knows of the hold", saw("procB", pairguard.Held))
	tr.must(syscall.Kill(pid, syscall.SIGKILL))
	_, err := p.Observer.AwaitHolder(tr.ctx, "procA", pid)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

// TestEveryHangIsReplaced tries each kind of hang many times: none may be missed,
// and none may take longer than promised.
func TestEveryHangIsReplaced(t *testing.T) {
	for _, c := range []struct {
		name  string
		kinds []string
		fault string // a file that makes it hang; empty: SIGSTOP
		says  string
	}{
		{"stopped while busy", []string{"busy"}, "", "stopped (state T)"},
		{"stopped while idle", nil, "", "stopped (state T)"},
		{"stopped with many threads", []string{"threads"}, "", "stopped (state T)"},
		{"deadlock behind Healthy", []string{"check"}, "deadlock", "it says that it is not healthy"},
		{"spinning behind Beat", []string{"beat"}, "spin", "of processor time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			p := tr.members("procA", "procB", c.kinds...)
			var all []time.Duration
			for range times(2, 20) {
				old := p.Observer.Holder("procB")
				began := tr.hang(old, c.fault)
				next, err := p.Observer.AwaitHolder(tr.ctx, "procB", old)
				tr.must(err)
				away := next.From.Sub(began)
				all = append(all, away)
				if away > stage.AwayLimit {
					t.Errorf("it hung for %v", away)
				}
				e := tr.event("it is judged", sawOf("procA", pairguard.PeerHung, old))
				if !strings.Contains(e.Reason, c.says) {
					t.Errorf("it was judged because %q, want %q", e.Reason, c.says)
				}
				tr.must(p.AwaitUp(tr.ctx))
			}
			t.Logf("replaced after p50 %v, longest %v", stage.Quantile(all, 0.5), stage.Quantile(all, 1))
			tr.stopped(p)
		})
	}
}

// hang makes a process hang and returns since when it does.
func (t *trial) hang(pid int, fault string) time.Time {
	t.Helper()
	if fault == "" {
		began := time.Now()
		t.must(syscall.Kill(pid, syscall.SIGSTOP))
		return began
	}
	file := filepath.Join(t.Root, fault+"-procB")
	t.must(os.WriteFile(file, nil, 0o600))
	deadline := time.After(stage.Patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(file); os.IsNotExist(err) {
			return time.Now() // it has taken the file, and hangs
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s is not taken", file)
		}
	}
}

// A hung member says what it was doing before it is killed, stopped or not.
func TestHungPeerSaysWhatItWasDoing(t *testing.T) {
	for fault, frame := range map[string]string{"": "mainLoop", "spin": "main.spin"} {
		t.Run("fault "+fault, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			p := tr.members("procA", "procB", "beat", "dump")
			old := p.Observer.Holder("procB")
			tr.hang(old, fault)
			_, err := p.Observer.AwaitHolder(tr.ctx, "procB", old)
			tr.must(err)
			tr.must(p.AwaitUp(tr.ctx))
			dump, err := os.ReadFile(filepath.Join(tr.Dir, "procB.dump"))
			tr.must(err)
			for _, want := range []string{fmt.Sprintf("process %d ", old), "goroutine ", frame} {
				if !strings.Contains(string(dump), want) {
					t.Errorf("the dump does not have %q:\n%s", want, dump)
				}
			}
			tr.event("it is said where the dump is", func(e pairguard.Event) bool { return strings.Contains(e.Reason, "procB.dump") })
			tr.stopped(p)
		})
	}
}
