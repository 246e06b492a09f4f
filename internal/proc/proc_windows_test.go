package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

const roleVariable = "PAIRGUARD_TEST_ROLE"

// TestMain makes the test binary the processes that the tests need; whatever
// happens, such a process ends after a minute.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		time.AfterFunc(time.Minute, func() { os.Exit(98) })
		play(strings.Split(role, " "))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func play(role []string) {
	switch role[0] {
	case "gated": // waits for a file, then plays the rest
		for {
			if _, err := os.Stat(role[1]); err == nil {
				play(role[2:])
				return
			}
			<-time.After(time.Millisecond)
		}
	case "wait":
		fmt.Println("ready")
		select {}
	case "spin":
		fmt.Println("ready")
		for n := 0; ; n++ {
			_ = n
		}
	case "idle":
		select {}
	case "exit":
		code, _ := strconv.Atoi(role[1])
		os.Exit(code)
	case "polite":
		asked := make(chan string)
		if err := OnEndRequest(func(reason string) { asked <- reason }); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("ready")
		fmt.Println(<-asked)
	case "console":
		window, _, _ := kernel32.NewProc("GetConsoleWindow").Call()
		fmt.Printf("visible %t\n", window != 0 && visible(window))
	case "count":
		for n := 0; ; n++ {
			fmt.Println(n)
			<-time.After(time.Millisecond)
		}
	case "parent": // starts a child and ends, or waits
		h, err := Start(Spec{Path: os.Args[0], Env: append(os.Environ(), roleVariable+"=idle")})
		if err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println("child", h.PID())
		if role[1] == "waits" {
			select {}
		}
	case "capabilities":
		fmt.Println("says", strings.Join(Capabilities(), ";"))
	}
}

func visible(window uintptr) bool {
	ok, _, _ := user32.NewProc("IsWindowVisible").Call(window)
	return ok != 0
}

// startRole starts a process with a part; what it prints can be read.
func startRole(t *testing.T, role string) (*Handle, *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	defer w.Close()
	h, err := Start(Spec{Path: exe, Dir: os.TempDir(), Env: append(os.Environ(), roleVariable+"="+role), Output: w})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Kill(); wantDone(t, h); h.Close() })
	return h, bufio.NewReader(r)
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("a process that should say something says %q, %v", text, err)
	}
	return strings.TrimSpace(text)
}

func wantLine(t *testing.T, what string, r *bufio.Reader, want string) {
	t.Helper()
	if got := line(t, r); got != want {
		t.Fatalf("%s: want %q, got %q", what, want, got)
	}
}

func wantDone(t *testing.T, h *Handle) {
	t.Helper()
	select {
	case <-h.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("%v: Done is not closed, want proof of its death", h.ID())
	}
}

func TestKillAndReopen(t *testing.T) {
	h, _ := startRole(t, "wait")
	again, err := Reopen(h.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	other := h.ID()
	other.Start++
	if _, err := Reopen(other); !errors.Is(err, ErrGone) {
		t.Errorf("Reopen with another start: %v, want ErrGone", err)
	}
	if h.isDone() {
		t.Fatal("Done is closed, want alive")
	}
	if err := again.Kill(); err != nil {
		t.Fatal(err)
	}
	wantDone(t, h)
	wantDone(t, again)
	if err := h.Kill(); err != nil {
		t.Errorf("Kill of a dead process: %v, want nil", err)
	}
}

func TestExitCode(t *testing.T) {
	h, _ := startRole(t, "exit 7")
	wantDone(t, h)
	if e := h.Exit(); e != (ExitStatus{Known: true, Code: 7}) {
		t.Errorf("exit is %v, want exit code 7", e)
	}
}

func TestClosedHandleIsNotDone(t *testing.T) {
	h, _ := startRole(t, "wait")
	again, err := Open(h.PID())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	again.Close()
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	wantDone(t, h)
	if again.isDone() {
		t.Error("Done of a closed handle is closed, want open")
	}
	if err := again.Kill(); !errors.Is(err, ErrClosed) {
		t.Errorf("Kill after Close: %v, want ErrClosed", err)
	}
}

func TestStartMissing(t *testing.T) {
	if _, err := Start(Spec{Path: filepath.Join(t.TempDir(), "none.exe")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("starting nothing: %v, want ErrNotExist", err)
	}
}

// A process that is nobody's child is watched like any other, to its exit code.
func TestOrphanIsWatched(t *testing.T) {
	h, said := startRole(t, "parent ends")
	pid, err := strconv.Atoi(strings.TrimPrefix(line(t, said), "child "))
	if err != nil {
		t.Fatal(err)
	}
	wantDone(t, h)
	orphan, err := Open(pid)
	if err != nil {
		t.Fatalf("the child does not outlive its parent: %v", err)
	}
	defer orphan.Close()
	if orphan.isDone() {
		t.Fatal("the child ended with its parent")
	}
	if err := orphan.Kill(); err != nil {
		t.Fatal(err)
	}
	wantDone(t, orphan)
	if e := orphan.Exit(); e != (ExitStatus{Known: true, Code: killedCode}) {
		t.Errorf("exit is %v, want exit code %d", e, killedCode)
	}
	// Somebody else's open handle keeps a dead process known.
	if again, err := Reopen(orphan.ID()); err == nil {
		if !again.isDone() {
			t.Error("reopening the dead gives a handle that is not done")
		}
	} else if !errors.Is(err, ErrGone) {
		t.Errorf("reopening the dead: %v, want ErrGone", err)
	}
}

func TestTerminateAsks(t *testing.T) {
	h, said := startRole(t, "polite")
	wantLine(t, "it listens", said, "ready")
	if err := h.Terminate(); err != nil {
		t.Fatal(err)
	}
	wantLine(t, "it was asked", said, "asked to end")
	wantDone(t, h)
	if e := h.Exit(); e != (ExitStatus{Known: true}) {
		t.Errorf("exit is %v, want exit code 0", e)
	}
	if err := h.Terminate(); err != nil {
		t.Errorf("asking the dead: %v, want nil", err)
	}
}

func TestTerminateWithoutAWindow(t *testing.T) {
	h, said := startRole(t, "wait")
	wantLine(t, "it runs", said, "ready")
	if err := h.Terminate(); !errors.Is(err, ErrNotSupported) {
		t.Errorf("asking a process without a window: %v, want ErrNotSupported", err)
	}
}

// What the system sends at the end of a session, sent by hand.
func TestEndOfSessionIsToldInTime(t *testing.T) {
	for reason, lParam := range map[string]uintptr{"log-off": endSessionLogoff, "shutdown": 0} {
		h, said := startRole(t, "polite")
		wantLine(t, "it listens", said, "ready")
		own := windowsOf(uint32(h.PID()))
		if len(own) == 0 {
			t.Fatal("it has no window")
		}
		send := func(id, wParam uintptr) uintptr {
			var answer uintptr
			const abortIfHung, patience = 2, 5000
			_, _, _ = user32.NewProc("SendMessageTimeoutW").Call(uintptr(own[0]), id, wParam, lParam, abortIfHung, patience,
				uintptr(unsafe.Pointer(&answer)))
			return answer
		}
		if send(wmQueryEndSession, 0) != 1 {
			t.Errorf("%s: it does not agree to end", reason)
		}
		send(wmEndSession, 0) // called off
		if h.isDone() {
			t.Errorf("%s: it ends although the end was called off", reason)
		}
		send(wmEndSession, 1)
		wantLine(t, "it was told", said, reason)
		wantDone(t, h)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	h, said := startRole(t, "count")
	wantLine(t, "it counts", said, "0")
	if err := h.Freeze(); err != nil {
		t.Fatal(err)
	}
	frozen := make(chan struct{})
	go func() { // reads what it has said; only a thaw brings more
		defer close(frozen)
		for {
			if _, err := said.ReadString('\n'); err != nil {
				return
			}
		}
	}()
	if err := h.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := h.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := h.Kill(); err != nil { // frozen or not
		t.Fatal(err)
	}
	wantDone(t, h)
	<-frozen
	if err := h.Freeze(); !errors.Is(err, ErrGone) {
		t.Errorf("freezing the dead: %v, want ErrGone", err)
	}
}

func TestStartedProcessShowsNoWindow(t *testing.T) {
	_, said := startRole(t, "console")
	wantLine(t, "its console", said, "visible false")
}

func TestManyHandlesNeedNoThreadEach(t *testing.T) {
	h, said := startRole(t, "wait")
	wantLine(t, "it runs", said, "ready")
	before := pprof.Lookup("threadcreate").Count()
	all := make([]*Handle, 200)
	for i := range all {
		var err error
		if all[i], err = Open(h.PID()); err != nil {
			t.Fatal(err)
		}
		defer all[i].Close()
	}
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		wantDone(t, h)
	}
	if made := pprof.Lookup("threadcreate").Count() - before; made > 20 {
		t.Errorf("%d handles made %d threads", len(all), made)
	}
}

func onWine() bool { return ntdll.NewProc("wine_get_version").Find() == nil }

// inJob starts a part inside a job object with the given limits, and returns the
// job's end.
func inJob(t *testing.T, role string, limits uint32) (*Handle, *bufio.Reader, func()) {
	t.Helper()
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = limits | windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		t.Fatal(err)
	}
	// The part waits for a file: it must be in the job before it does anything.
	gate := filepath.Join(t.TempDir(), "gate")
	h, said := startRole(t, "gated "+gate+" "+role)
	if err := windows.AssignProcessToJobObject(job, h.sys.process); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return h, said, func() { _ = windows.CloseHandle(job) }
}

func TestChildLeavesTheJobWhereItMay(t *testing.T) {
	for name, c := range map[string]struct {
		limits  uint32
		outlive bool
	}{
		"allowed": {windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK, true},
		"refused": {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			h, said, end := inJob(t, "parent waits", c.limits)
			pid, err := strconv.Atoi(strings.TrimPrefix(line(t, said), "child "))
			if err != nil {
				t.Fatal(err)
			}
			child, err := Open(pid)
			if err != nil {
				t.Fatal(err)
			}
			defer child.Close()
			end()
			wantDone(t, h)
			if !c.outlive {
				wantDone(t, child)
				return
			}
			if child.isDone() {
				t.Error("the child ended with the job")
			}
			_ = child.Kill()
			wantDone(t, child)
		})
	}
}

func TestCapabilitiesTellOfAJobThatKeeps(t *testing.T) {
	if onWine() {
		t.Skip("not verified on Windows: wine does not tell the limits of the job that a process is in")
	}
	for want, limits := range map[string]uint32{
		"says": windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK,
		"says a job object around this process lets nothing out of it: when whoever made the job ends it, the peer ends too": 0,
	} {
		_, said, end := inJob(t, "capabilities", limits)
		wantLine(t, "in a job", said, want)
		end()
	}
}

// examine looks until a look satisfies, since a process that was just frozen or
// started may not have got there yet.
func examine(t *testing.T, h *Handle, what string, ok func(Examination) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); ; {
		x, err := h.Examine()
		if err != nil {
			t.Fatal(err)
		}
		if ok(x) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not seen: %s: %+v", what, x)
		}
	}
}

func TestExamine(t *testing.T) {
	h, said := startRole(t, "wait")
	wantLine(t, "it runs", said, "ready")
	examine(t, h, "all asleep", func(x Examination) bool {
		return x.Threads > 1 && x.Runnable == 0 && x.Blocked == 0 && x.Tracer.String() == "" && x.FrozenKnown && x.CPUKnown
	})
	if err := h.Freeze(); err != nil {
		t.Fatal(err)
	}
	examine(t, h, "frozen is not runnable", func(x Examination) bool { return x.Runnable == 0 })
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	wantDone(t, h)
	if _, err := h.Examine(); !errors.Is(err, ErrGone) {
		t.Errorf("examining the dead: %v, want ErrGone", err)
	}
}

func TestExamineASpinningProcess(t *testing.T) {
	h, said := startRole(t, "spin")
	wantLine(t, "it runs", said, "ready")
	before, err := h.Examine()
	if err != nil {
		t.Fatal(err)
	}
	examine(t, h, "its processor time grows", func(x Examination) bool { return x.CPU-before.CPU > 50*time.Millisecond })
}
