package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// programs are the live processes of the stage that were started as program.
func programs(now []stage.Process, program string, args ...string) (found []stage.Process) {
	for _, p := range now {
		if p.Is(program, args...) {
			found = append(found, p)
		}
	}
	return found
}

// program waits until one instance of an ordinary program runs, other than the old one.
func (t *trial) program(old int, program string, args ...string) int {
	t.Helper()
	pid := 0
	t.must(t.AwaitProcesses(t.ctx, "one new "+program, func(now []stage.Process) bool {
		found := programs(now, program, args...)
		if len(found) > 1 {
			t.Fatalf("doubled: %v", found)
		}
		if len(found) == 1 && found[0].PID != old {
			pid = found[0].PID
		}
		return pid != 0
	}))
	return pid
}

// An ordinary program that never says HELLO: guarded against death, never doubled.
func TestSilentProgram(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	sleep, err := exec.LookPath("sleep")
	tr.must(err)
	p := tr.pair("guard", "prog")
	p.First = tr.guard("guard", "prog", "--backoff", "0", "--start-timeout", "300ms", "--", sleep, "1000")
	pid := tr.program(0, sleep, "1000")
	for range times(3, 10) {
		tr.must(syscall.Kill(pid, syscall.SIGKILL))
		pid = tr.program(pid, sleep, "1000")
	}
	tr.event("it is said that it is silent", sawOf("guard", pairguard.PeerSilent, pid))
	tr.remains("one program and its guard", 2*time.Second, func(now []stage.Process) bool {
		return len(now) == 2 && len(programs(now, sleep, "1000")) == 1
	})
	if n := tr.count(sawOf("guard", pairguard.PeerSilent, pid)); n != 1 {
		t.Errorf("it is said %d times", n)
	}
	// The guard is replaced by a person: it must find the program, not start a second one.
	tr.must(p.First.Signal(syscall.SIGKILL))
	tr.must(p.First.Await(tr.ctx))
	p.First = tr.guard("guard", "prog", "--backoff", "0", "--start-timeout", "300ms", "--", sleep, "1000")
	_, err = p.Observer.AwaitHolder(tr.ctx, "guard")
	tr.must(err)
	tr.remains("still the same program", 2*time.Second, func(now []stage.Process) bool {
		found := programs(now, sleep, "1000")
		return len(found) == 1 && found[0].PID == pid
	})
	tr.stopped(p)
}

var missingLine = regexp.MustCompile(`^pairguard: [^\n]*no-such-program[^\n]*$`)

func TestExecutableIsMissing(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	a := tr.guard("procA", "procB", "--", "./no-such-program")
	tr.ended(a, 1)
	if !missingLine.MatchString(a.Stderr()) || a.Stdout() != "" {
		t.Errorf("it said %q and printed %q", a.Stderr(), a.Stdout())
	}
}

// One that ends at once is started again and again, within the backoff, and the
// guard neither gives up nor drowns the log.
func TestExecutableExitsAtOnce(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	starts := filepath.Join(tr.Root, "starts")
	script := filepath.Join(tr.Root, "once")
	tr.must(os.WriteFile(script, []byte("#!/bin/sh\necho >>"+starts+"\nexit 7\n"), 0o755))
	p := tr.pair("procA", "procB")
	p.First = tr.guard("procA", "procB", "--backoff", "50ms", "--backoff-max", "200ms", "--", script)
	failed := tr.event("it is said how it ended", func(e pairguard.Event) bool {
		return saw("procA", pairguard.PeerFailed)(e) && strings.Contains(e.Reason, "exit code 7")
	})
	tr.remains("the guard", 2*time.Second, func(now []stage.Process) bool { return len(now) >= 1 })
	text, err := os.ReadFile(starts)
	tr.must(err)
	// 1 + 1 + at 50, 100, 200 and then each 200 ms, shortened by the jitter by a quarter at most.
	passed := time.Since(failed.Time)
	if n, most := strings.Count(string(text), "\n"), 5+int(passed/(150*time.Millisecond)); n < 4 || n > most {
		t.Errorf("%d starts in %v", n, passed)
	}
	if n := tr.count(saw("procA", pairguard.PeerFailed)); n > 8 {
		t.Errorf("it is said %d times", n)
	}
	tr.stopped(p)
}

func TestExecutableIsRemovedLater(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	program, aside := filepath.Join(tr.Root, "program"), filepath.Join(tr.Root, "aside")
	tr.must(os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755))
	p := tr.pair("procA", "procB")
	p.First = tr.guard("procA", "procB", "--backoff", "50ms", "--backoff-max", "100ms", "--", program)
	pid := tr.program(0, "sleep", "1000")
	tr.must(os.Rename(program, aside))
	tr.must(syscall.Kill(pid, syscall.SIGKILL))
	tr.event("it is said that it cannot be started", func(e pairguard.Event) bool {
		return saw("procA", pairguard.PeerFailed)(e) && strings.Contains(e.Reason, program)
	})
	tr.must(os.Rename(aside, program)) // an update has been finished
	tr.program(pid, "sleep", "1000")
	tr.stopped(p)
}

// Names of folders and programs as people give them.
func TestSpacesAndChineseCharacters(t *testing.T) {
	t.Parallel()
	home, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	binary := filepath.Join(home, "双进程 守护", "守护 程序")
	if err := os.Mkdir(filepath.Dir(binary), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(command("pairguard"), binary); err != nil {
		t.Fatal(err)
	}
	tr := newTrialIn(t, binary, "我的 文件夹")
	p := tr.guards("procA", "procB")
	_, err = p.KillInTurn(tr.ctx, 4, syscall.SIGKILL)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
	tr.ended(p.First, -1)
}

// The article's two programs: each is one line of the library.
func TestTwoProcessesExample(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	for _, name := range []string{"procA", "procB"} {
		tr.must(os.Link(command(name), filepath.Join(tr.Root, name)))
	}
	p := tr.pair("procA", "procB")
	first, err := tr.StartExample("procA")
	tr.must(err)
	p.First = first
	tr.must(p.AwaitUp(tr.ctx))
	for i := range 4 {
		name := fmt.Sprintf("proc%c", 'B'-i%2)
		away, err := p.Replace(tr.ctx, name, syscall.SIGKILL)
		tr.must(err)
		if away > stage.AwayLimit {
			t.Errorf("%s was away for %v", name, away)
		}
		tr.must(p.AwaitUp(tr.ctx))
	}
	tr.stopped(p)
}
