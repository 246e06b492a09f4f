package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFindMarked(t *testing.T) {
	f := startFamily(t, nil)
	defer func() { wantFelled(t, openTree(t, f.Handle, nil)) }()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", f.PID()))
	must(t, err)
	_, mark, _ := strings.Cut(string(env), markVariable+"=")
	mark, _, _ = strings.Cut(mark, "\x00")
	found, err := FindMarked(markVariable, mark)
	must(t, err)
	var pids []int
	for _, h := range found {
		pids = append(pids, h.PID())
		defer h.Close()
	}
	if len(found) != 5 || found[0].ID() != f.ID() {
		t.Fatalf("found processes %v, want 5, the main process %d first", pids, f.PID())
	}
	for h, want := range map[*Handle]bool{f.Handle: true, f.plain: false, f.session: true} {
		if leads, err := h.LeadsSession(); err != nil || leads != want {
			t.Errorf("%v leads a session: %v %v, want %v", h.ID(), leads, err, want)
		}
	}
	for _, wrong := range [][2]string{{markVariable, mark[:len(mark)-1]}, {markVariable[1:], mark}, {markVariable, mark + "x"}} {
		found, err := FindMarked(wrong[0], wrong[1])
		if err != nil || len(found) != 0 {
			t.Errorf("%v: %d found, %v, want none", wrong, len(found), err)
		}
	}
}

// A program that executes itself again and again is found at each try.
func TestFindMarkedDuringExec(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "again")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nexec \"$0\"\n"), 0o700))
	mark := dir
	h, err := Start(Spec{Path: script, Env: []string{markVariable + "=" + mark}})
	must(t, err)
	defer func() {
		_ = h.Kill()
		wantDone(t, h)
	}()
	empty := 0
	for i := range 100 {
		if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", h.PID())); err == nil && len(env) == 0 {
			empty++
		}
		found, err := FindMarked(markVariable, mark)
		must(t, err)
		if len(found) != 1 || found[0].ID() != h.ID() {
			t.Fatalf("try %d: found %d processes, want the one that lives", i, len(found))
		}
		found[0].Close()
	}
	t.Logf("the environment was empty at %d of 100 first looks", empty)
}

// A process with an empty environment does not hold up the search.
func TestFindMarkedWithEmptyEnvironment(t *testing.T) {
	h, err := Start(Spec{Path: lookPath(t, "sleep"), Args: []string{"60"}, Env: []string{}})
	must(t, err)
	defer func() {
		_ = h.Kill()
		wantDone(t, h)
	}()
	eventually(t, "the exec is over", func() bool { return hasNoEnvironment(h.PID()) })
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", h.PID())); err != nil || len(env) != 0 {
		t.Fatalf("its environment is %q %v, want none", env, err)
	}
}

// A program that hides its mark is found by the pipe that it writes to.
func TestFindWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(path, 0o600))
	both, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer both.Close()
	reading, err := os.OpenFile(path, os.O_RDONLY, 0)
	must(t, err)
	defer reading.Close()
	sleep := lookPath(t, "sleep")
	start := func(out *os.File) *Handle {
		h, err := Start(Spec{Path: sleep, Args: []string{"60"}, Output: out, Env: []string{}})
		must(t, err)
		t.Cleanup(func() {
			_ = h.Kill()
			wantDone(t, h)
		})
		return h
	}
	start(nil)
	start(reading)
	writer := start(both)
	found, err := FindWriters(reading)
	must(t, err)
	for _, h := range found {
		defer h.Close()
	}
	if len(found) != 1 || found[0].ID() != writer.ID() {
		t.Errorf("found %d processes, want process %d alone", len(found), writer.PID())
	}
}

func TestWhoHasNoEnvironment(t *testing.T) {
	if hasNoEnvironment(os.Getpid()) {
		t.Error("this process counts as one without an environment")
	}
	zombie := newPlayer(t, "parent exit 0").number(t)
	eventually(t, "a zombie counts as one", func() bool { return hasNoEnvironment(zombie) })
	if s, err := readStat(zombie); err != nil || s.state != 'Z' {
		t.Errorf("it is %v %v, want a zombie", s, err)
	}
}
