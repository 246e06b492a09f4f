package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/without"
)

// TestWithoutPidfds runs all tests of the package again as on an old kernel.
func TestWithoutPidfds(t *testing.T) {
	if pidfds() != nil {
		t.Skip("there are no pidfds here anyway")
	}
	cmd := exec.Command("/proc/self/exe", "-test.count=1")
	cmd.Env = append(os.Environ(), without.Variable+"=pidfd,peerpidfd")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("without pidfds: %v\n%s", err, out)
	}
}

func TestKillChild(t *testing.T) {
	h := startRole(t, "wait")
	wantAlive(t, h)
	if e := h.Exit(); e.Known {
		t.Errorf("exit of a living process is %v, want unknown", e)
	}
	must(t, h.Kill())
	wantDone(t, h)
	if got := h.Exit().String(); got != "signal KILL" {
		t.Errorf("exit is %q, want signal KILL", got)
	}
	wantReaped(t, h.ID())
	must(t, h.Kill())
	must(t, h.Terminate())
	wantGone(t, h.Signal(os.Interrupt))
}

func TestExitCodes(t *testing.T) {
	for _, code := range []int{0, 1, 42, 255} {
		h := startRole(t, fmt.Sprint("exit ", code))
		wantDone(t, h)
		if e := h.Exit(); e != (ExitStatus{Known: true, Code: code}) {
			t.Errorf("exit is %v, want exit code %d", e, code)
		}
	}
}

func TestTerminateChild(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	spec := roleSpec("wait")
	spec.Output = w
	h, err := Start(spec)
	must(t, err)
	defer h.Close()
	w.Close()
	_, err = r.Read(make([]byte, 10)) // it is up
	must(t, err)
	must(t, h.Terminate())
	wantDone(t, h)
	if got := h.Exit().String(); got != "signal TERM" {
		t.Errorf("exit is %q, want signal TERM", got)
	}
}

func TestStoppedProcessIsAliveAndCanBeKilled(t *testing.T) {
	h := startRole(t, "wait")
	must(t, h.Signal(syscall.SIGSTOP))
	eventually(t, "it is stopped", func() bool { s, _ := readStat(h.PID()); return s.state == 'T' })
	wantAlive(t, h)
	must(t, h.Kill())
	wantDone(t, h)
}

// A process that is not our child ends: the death is seen while it is a zombie,
// and a handle opened on the zombie is done from the start.
func TestNonChild(t *testing.T) {
	parent := newPlayer(t, "parent wait")
	h, err := Open(parent.number(t))
	must(t, err)
	defer h.Close()
	wantAlive(t, h)
	must(t, h.Kill())
	wantDone(t, h)
	if got := h.Exit().String(); got != "signal KILL" {
		t.Errorf("exit is %q, want signal KILL, from the zombie", got)
	}
	again, err := Open(h.PID())
	must(t, err)
	defer again.Close()
	if !again.isDone() {
		t.Error("Done of a zombie is open, want closed at once")
	}
	if again.ID() != h.ID() || again.Exit() != h.Exit() {
		t.Errorf("the zombie is %v %v, want %v %v", again.ID(), again.Exit(), h.ID(), h.Exit())
	}
	parent.goOn(t)
	parent.line(t) // reaped
	_, err = Open(h.PID())
	wantGone(t, err)
	_, err = Reopen(h.ID())
	wantGone(t, err)
}

func TestExitCodeZeroOfNonChild(t *testing.T) {
	parent := newPlayer(t, "parent exit 0")
	h, err := Open(parent.number(t))
	must(t, err)
	defer h.Close()
	wantDone(t, h)
	if e := h.Exit(); e != (ExitStatus{Known: true}) {
		t.Errorf("exit is %v, want exit code 0, from the zombie", e)
	}
}

// Whoever may not trace a process is shown 0 for every exit code, which must
// not be taken for success.
func TestExitOfNonChildOfAnotherUserIsUnknown(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	parent := newPlayer(t, "parent exit 7")
	pid := parent.number(t)
	eventually(t, "it is a zombie", func() bool { s, _ := readStat(pid); return s.dead() })
	finished := make(chan ExitStatus)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, now another user's, ends with its goroutine
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534)
		s, _ := readStat(pid)
		finished <- zombieStatus(ID{PID: pid, Start: s.start})
	}()
	if e := <-finished; e.Known {
		t.Errorf("exit is %v, want unknown", e)
	}
}

// The leader of a process has ended, its other threads run on: not dead.
func TestDoneIsNotEarlyWhenTheLeaderThreadEnds(t *testing.T) {
	p := newPlayer(t, "leaderless")
	p.line(t)
	eventually(t, "its leader is a zombie", func() bool { s, _ := readStat(p.process.Pid); return s.state == 'Z' })
	h, err := Open(p.process.Pid)
	must(t, err)
	defer h.Close()
	select {
	case <-h.Done():
		t.Error("done while threads run")
	case <-time.After(3 * lookEvery): // as long as polling would need to be wrong
	}
	must(t, h.Kill())
	wantDone(t, h)
}

// Done of a process with much memory must not come before the memory is gone;
// the kernel says so by the process being a zombie.
func TestDoneMeansZombie(t *testing.T) {
	for range 20 {
		parent := newPlayer(t, "parent wait")
		h, err := Open(parent.number(t))
		must(t, err)
		must(t, h.Kill())
		wantDone(t, h)
		if s, err := readStat(h.PID()); err != nil || !s.dead() {
			t.Fatalf("after Done the process is %+v, %v, want dead", s, err)
		}
		h.Close()
	}
}

func TestReopen(t *testing.T) {
	h := startRole(t, "wait")
	if h.ID().Start == 0 || h.ID().BootID == "" || h.ID().PIDNamespace == 0 {
		t.Fatalf("ID is %+v, want all fields", h.ID())
	}
	b, err := json.Marshal(h.ID())
	must(t, err)
	var id ID
	must(t, json.Unmarshal(b, &id))
	again, err := Reopen(id)
	must(t, err)
	defer again.Close()
	if again.ID() != h.ID() {
		t.Errorf("reopened %v, want %v", again.ID(), h.ID())
	}
	for what, change := range map[string]func(*ID){
		"start":      func(id *ID) { id.Start++ },
		"no start":   func(id *ID) { id.Start = 0 },
		"boot":       func(id *ID) { id.BootID = "another" },
		"namespace":  func(id *ID) { id.PIDNamespace++ },
		"no process": func(id *ID) { *id = ID{} },
	} {
		other := h.ID()
		change(&other)
		if _, err := Reopen(other); !errors.Is(err, ErrGone) || errors.Is(err, ErrElsewhere) != (what == "namespace") {
			t.Errorf("Reopen with another %s: %v, want ErrGone, ErrElsewhere for the namespace alone", what, err)
		}
	}
}

// A number that really is used again names neither by Reopen nor by the old
// handle the new process.
func TestReusedNumber(t *testing.T) {
	old, err := Start(roleSpec("exit 0"))
	must(t, err)
	defer old.Close()
	wantDone(t, old)
	wantReaped(t, old.ID())
	reused := reuse(t, old.ID())
	defer func() { _ = reused.Kill(); wantDone(t, reused); reused.Close() }()
	_, err = Reopen(old.ID())
	wantGone(t, err)
	must(t, old.Kill())
	wantGone(t, old.Signal(syscall.SIGKILL))
	wantAlive(t, reused)
}

// reuse starts a process with the number of old, in another tick of the clock:
// no real machine forks through all numbers within one.
func reuse(t *testing.T, old ID) *Handle {
	t.Helper()
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", fmt.Append(nil, old.PID-1), 0); err != nil {
			t.Skip("cannot choose numbers:", err)
		}
		h, err := Start(roleSpec("wait"))
		must(t, err)
		if h.PID() == old.PID && h.ID().Start != old.Start {
			return h
		}
		_ = h.Kill()
		wantDone(t, h)
		h.Close()
	}
	t.Skip("the number was always taken by others")
	return nil
}

func TestOpenNobody(t *testing.T) {
	for _, pid := range []int{0, -1} {
		if _, err := Open(pid); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("Open(%d): %v, want an error that is not ErrGone", pid, err)
		}
	}
	_, err := Open(1 << 30)
	wantGone(t, err)
}

func TestFromPidfd(t *testing.T) {
	if pidfds() != nil {
		t.Skip("needs pidfds")
	}
	child := startRole(t, "wait")
	fd, err := unix.PidfdOpen(child.PID(), 0)
	must(t, err)
	h, err := FromPidfd(fd)
	must(t, err)
	defer h.Close()
	if h.ID() != child.ID() {
		t.Errorf("FromPidfd is %v, want %v", h.ID(), child.ID())
	}
	late, err := unix.PidfdOpen(child.PID(), 0)
	must(t, err)
	must(t, h.Kill())
	wantDone(t, h)
	wantDone(t, child)
	wantReaped(t, child.ID())
	_, err = FromPidfd(late)
	wantGone(t, err)
	file, err := os.Open("/dev/null")
	must(t, err)
	fd, err = unix.Dup(int(file.Fd()))
	must(t, err)
	file.Close()
	if _, err = FromPidfd(fd); err == nil || errors.Is(err, ErrGone) {
		t.Errorf("FromPidfd of a file: %v, want an error that is not ErrGone", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Error("the descriptor is still open, want it taken over")
	}
}

func TestHostProgramReapsItself(t *testing.T) {
	for _, how := range []string{"wait4", "ignore"} {
		p := newPlayer(t, "reaper "+how)
		if got := p.line(t); got != "fine" {
			t.Errorf("%s: %s", how, got)
		}
	}
}

func TestForgottenAndClosedChildrenAreReaped(t *testing.T) {
	h, err := Start(roleSpec("wait"))
	must(t, err)
	id := h.ID()
	h.Close()
	h.Close()
	if err := h.Kill(); !errors.Is(err, ErrClosed) {
		t.Errorf("Kill after Close: %v, want ErrClosed", err)
	}
	must(t, syscall.Kill(id.PID, syscall.SIGKILL))
	wantReaped(t, id)
}

func TestCloseEndsTheWatching(t *testing.T) {
	child := startRole(t, "wait")
	h, err := Open(child.PID())
	must(t, err)
	h.Close()
	must(t, child.Kill())
	wantDone(t, child)
	if h.isDone() {
		t.Error("Done of a closed handle is closed, want open")
	}
}

func TestTracedChildIsDoneBeforeItCanBeReaped(t *testing.T) {
	h := startRole(t, "wait")
	tracer := newPlayer(t, fmt.Sprint("tracer ", h.PID()))
	if got := tracer.line(t); got != "<nil>" {
		t.Skip("cannot trace: ", got)
	}
	must(t, h.Kill())
	if pidfds() == nil {
		wantDone(t, h)
		if e := h.Exit().String(); e != "signal KILL" {
			t.Errorf("exit is %q, want signal KILL", e)
		}
	}
	tracer.goOn(t)
	wantDone(t, h)
	wantReaped(t, h.ID())
}

func TestNoThreadAndOneGoroutineForManyHandles(t *testing.T) {
	if pidfds() != nil {
		t.Skip("needs pidfds")
	}
	sleep, _, err := Resolve("sleep")
	must(t, err)
	warm := startRole(t, "wait")
	threads, goroutines := countThreads(t), runtime.NumGoroutine()
	var all []*Handle
	for range 50 {
		h, err := Start(Spec{Path: sleep, Args: []string{"60"}})
		must(t, err)
		same, err := Open(h.PID())
		must(t, err)
		all = append(all, h, same)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 0 {
		t.Errorf("100 handles need %d goroutines more, want 0", more)
	}
	if more := countThreads(t) - threads; more > 3 { // the runtime itself may start some
		t.Errorf("100 handles need %d threads more, want none", more)
	}
	for _, h := range all {
		must(t, h.Kill())
	}
	for _, h := range all {
		wantDone(t, h)
		h.Close()
		wantReaped(t, h.ID())
	}
	wantAlive(t, warm)
}

func countThreads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	return len(tasks)
}

func TestNoDescriptorIsLeft(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(fds)
	}
	warm := startRole(t, "wait") // the poller's own descriptors
	before := count()
	for range 20 {
		child := startRole(t, "wait")
		h, err := Open(child.PID())
		must(t, err)
		h.Close()
		must(t, child.Kill())
		wantDone(t, child)
	}
	eventually(t, "all descriptors are given back", func() bool { return count() <= before })
	wantAlive(t, warm)
}

func TestConcurrentUse(t *testing.T) {
	for range 20 {
		child := startRole(t, "wait")
		h, err := Open(child.PID())
		must(t, err)
		var group sync.WaitGroup
		for _, f := range []func(){
			func() { _ = h.Kill() }, func() { _ = child.Kill() }, func() { h.Nudge() }, h.Close, h.Close,
			func() { _ = h.Signal(syscall.SIGCONT) }, func() { <-child.Done() }, func() { h.Exit() },
		} {
			group.Go(f)
		}
		group.Wait()
	}
}

func TestNudgeMakesLookingFast(t *testing.T) {
	parent := newPlayer(t, "parent wait")
	h, err := Open(parent.number(t))
	must(t, err)
	defer h.Close()
	h.Nudge()
	h.Nudge()
	must(t, h.Kill())
	wantDone(t, h)
}

func TestSelf(t *testing.T) {
	id, err := Self()
	must(t, err)
	h, err := Reopen(id)
	must(t, err)
	defer h.Close()
	if h.PID() != os.Getpid() {
		t.Errorf("Self is process %d, want %d", h.PID(), os.Getpid())
	}
}

func TestCapabilities(t *testing.T) {
	text := strings.Join(Capabilities(), "\n")
	for _, feature := range []string{"pidfd", "peerpidfd"} {
		word := map[string]string{"pidfd": "no pidfds", "peerpidfd": "no SO_PEERPIDFD"}[feature]
		if without.Feature(feature) && !strings.Contains(text, word) {
			t.Errorf("capabilities are %q, want %q mentioned", text, word)
		}
	}
}

func TestParseStat(t *testing.T) {
	line := "7 (a) Z (b) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 3 18 4711 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 256\n"
	s, err := parseStat([]byte(line))
	must(t, err)
	if want := (stat{state: 'R', threads: 3, start: 4711, exitCode: 256}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	for _, bad := range []string{"", "7 (a", "7 (a) R 1 2", strings.Replace(line, "4711", "-1", 1)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is understood, want an error", bad)
		}
	}
}

func TestNoWakeUpsWhileNothingHappens(t *testing.T) {
	if pidfds() != nil {
		t.Skip("needs pidfds")
	}
	h := startRole(t, "wait")
	before := goroutineSwitches(t)
	<-time.After(300 * time.Millisecond)
	// The test's own timer, the race detector and the collector make a few.
	if n := goroutineSwitches(t) - before; n > 40 {
		t.Errorf("%d context switches in 300 ms of nothing", n)
	}
	wantAlive(t, h)
}

func goroutineSwitches(t *testing.T) int64 {
	t.Helper()
	var usage unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return int64(usage.Nvcsw)
}
