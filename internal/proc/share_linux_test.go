package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A thousand programs cost no goroutine each, and all of their ends are told of, once.
func TestThousandByOnDone(t *testing.T) {
	if pidfds() != nil {
		t.Skip("without pidfds a child takes a goroutine")
	}
	const programs = 1000
	cat := lookPath(t, "cat")
	in, hold, err := os.Pipe()
	must(t, err)
	defer hold.Close()
	in.Fd() // makes it blocking, as cat wants it
	before := runtime.NumGoroutine()
	var calls [programs]atomic.Int32
	var handles []*Handle
	told := make(chan int, programs)
	defer func() {
		for _, h := range handles {
			_ = h.Kill()
		}
	}()
	for i := range programs {
		h, err := Start(Spec{Path: cat, Stdin: in, Env: []string{}})
		must(t, err)
		handles = append(handles, h)
		h.OnDone(func() {
			calls[i].Add(1)
			if !h.isDone() || h.Exit() != (ExitStatus{Known: true}) {
				t.Errorf("program %d: exit is %v, want exit code 0", i, h.Exit())
			}
			told <- i
		})
	}
	in.Close()
	if more := runtime.NumGoroutine() - before; more > 5 {
		t.Errorf("%d goroutines more than before, want a few for all", more)
	}
	hold.Close() // all of them read the end of it
	late := time.After(30 * time.Second)
	for n := range programs {
		select {
		case <-told:
		case <-late:
			t.Fatalf("%d ends were told of, want %d", n, programs)
		}
	}
	for i, h := range handles {
		wantReaped(t, h.ID())
		if n := calls[i].Load(); n != 1 {
			t.Errorf("program %d: told of %d times, want once", i, n)
		}
	}
}

func TestOnDoneAtOnceAndAfterClose(t *testing.T) {
	h := startRole(t, "exit 0")
	wantDone(t, h)
	called := false
	h.OnDone(func() { called = true })
	if !called {
		t.Error("OnDone of a dead process was not called at once")
	}
	parent := newPlayer(t, "parent wait")
	other, err := Open(parent.number(t))
	must(t, err)
	witness, err := Open(other.PID())
	must(t, err)
	defer witness.Close()
	other.OnDone(func() { t.Error("OnDone was called after Close") })
	other.Close()
	must(t, witness.Kill())
	wantDone(t, witness)
}

func TestDescriptorOfAProcess(t *testing.T) {
	if pidfds() != nil {
		h := startRole(t, "wait")
		if _, err := h.Dup(); !errors.Is(err, ErrNotSupported) {
			t.Fatalf("Dup: %v, want ErrNotSupported", err)
		}
		return
	}
	h := startRole(t, "wait")
	f, err := h.Dup()
	must(t, err)
	again, err := FromFile(f)
	must(t, err)
	defer again.Close()
	if again.ID() != h.ID() {
		t.Errorf("the descriptor is of %v, want %v", again.ID(), h.ID())
	}
	kept := startRole(t, "wait")
	tree := openTree(t, kept, nil)
	must(t, again.Kill())
	must(t, kept.Kill())
	wantDone(t, h)
	wantDone(t, again)
	wantReaped(t, h.ID())
	eventually(t, "the descriptor was given back", func() bool {
		f, err := h.Dup()
		if err == nil {
			f.Close()
		}
		return errors.Is(err, ErrGone)
	})
	wantDone(t, kept)
	wantReaped(t, kept.ID())
	f, err = kept.Dup()
	must(t, err)
	f.Close()
	tree.Close()
	if f, err := kept.Dup(); !errors.Is(err, ErrGone) {
		t.Errorf("descriptor after the tree was closed: %v %v, want ErrGone", f, err)
	}
	null, err := os.Open(os.DevNull)
	must(t, err)
	if _, err := FromFile(null); err == nil {
		t.Error("a handle of the null device was made")
	}
	if err := null.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closing what FromFile took over: %v, want that it is closed", err)
	}
}

// A child that has been forked and not executed keeps the birth pipe open beyond
// its parent's death; once it ends, it can be found by its mark.
func TestBirthPipe(t *testing.T) {
	for _, role := range []string{"birth", "forkerbirth"} {
		t.Run(role, func(t *testing.T) { checkBirthPipe(t, role) })
	}
}

func checkBirthPipe(t *testing.T, role string) {
	t.Helper()
	p, mark := startProgram(t, role, nil)
	numbers := strings.Fields(p.line(t))
	pid, err := strconv.Atoi(numbers[1])
	must(t, err)
	if pid <= 0 {
		t.Fatal("the program could not fork")
	}
	read, err := os.Open(fmt.Sprintf("/proc/%d/fd/%s", p.PID(), numbers[0]))
	must(t, err)
	defer read.Close()
	wait := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return AwaitBirths(ctx, read)
	}
	if err := wait(20 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the parent lives: %v, want that it lasts", err)
	}
	must(t, p.Handle.Kill())
	wantDone(t, p.Handle)
	wantReaped(t, p.ID())
	if err := wait(50 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while a child has not executed: %v, want that it lasts", err)
	}
	if found, err := FindMarked(markVariable, mark); err != nil || len(found) != 1 {
		t.Errorf("found %d, %v, want the child as an image of its parent", len(found), err)
	} else {
		found[0].Close()
	}
	_, err = p.in.WriteString("\n")
	must(t, err)
	must(t, wait(20*time.Second))
	found, err := FindMarked(markVariable, mark)
	must(t, err)
	if len(found) != 1 || found[0].PID() != pid {
		t.Fatalf("found %d processes, want the child, process %d", len(found), pid)
	}
	defer found[0].Close()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || string(name) != "cat\n" {
		t.Errorf("the child is %q %v, want that it has executed", name, err)
	}
	must(t, found[0].Kill())
	wantDone(t, found[0])
}

func TestStandardFiles(t *testing.T) {
	in, feed, err := os.Pipe()
	must(t, err)
	defer in.Close()
	_, err = feed.WriteString("through\n")
	must(t, err)
	feed.Close()
	open := func(name string) *os.File {
		f, err := os.Create(t.TempDir() + "/" + name)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	out, failed, rest := open("out"), open("err"), open("rest")
	run := func(s Spec) {
		s.Path, s.Args = "/bin/sh", []string{"-c", "cat; echo error >&2"}
		h, err := Start(s)
		must(t, err)
		wantDone(t, h)
	}
	run(Spec{Stdin: in, Stdout: out, Stderr: failed, Output: rest})
	run(Spec{Stdout: out, Output: rest})
	for f, want := range map[*os.File]string{out: "through\n", failed: "error\n", rest: "error\n"} {
		if b, err := os.ReadFile(f.Name()); err != nil || string(b) != want {
			t.Errorf("%s: %q %v, want %q", f.Name(), b, err, want)
		}
	}
}

// What a supervisor has for itself does not reach its programs.
func TestProgramsGetTheOriginalScoreAndLimit(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 300; exec "$0"`, exe)
	cmd.Env = append(os.Environ(), roleVariable+"=limit")
	out, err := cmd.CombinedOutput()
	must(t, err)
	if string(out) != "300\n" {
		t.Errorf("the soft limit of open files is %q, want the original, 300", out)
	}
	cmd = exec.Command(exe)
	cmd.Env = append(os.Environ(), roleVariable+"=oom")
	out, err = cmd.CombinedOutput()
	must(t, err)
	if string(out) != "900\n500\n" {
		t.Errorf("OOM scores of the program and its starter are %q, want the original 900, and 500", out)
	}
}
