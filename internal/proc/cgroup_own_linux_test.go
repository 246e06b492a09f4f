package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newCgroup is removed at the end of the test, which has left nothing in it.
func newCgroup(t *testing.T) *Cgroup {
	t.Helper()
	c, err := MakeCgroup(fmt.Sprintf("test.%d.%d", os.Getpid(), time.Now().UnixNano()), "程序 a")
	if errors.Is(err, ErrNotSupported) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() {
		must(t, c.Kill())
		eventually(t, "the cgroup is empty", func() bool {
			populated, err := c.Populated()
			must(t, err)
			return !populated
		})
		must(t, c.Remove())
		if _, err := os.Stat(filepath.Dir(c.Path())); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want removed with its last cgroup", filepath.Dir(c.Path()), err)
		}
	})
	return c
}

func TestBornInACgroup(t *testing.T) {
	c := newCgroup(t)
	if populated, err := c.Populated(); populated || err != nil {
		t.Errorf("populated: %v %v, want empty at first", populated, err)
	}
	p, _ := startProgram(t, "wait", c)
	p.line(t)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID()))
	must(t, err)
	inside := filepath.Join(filepath.Base(filepath.Dir(c.Path())), filepath.Base(c.Path()))
	if !strings.Contains(string(text), inside) {
		t.Errorf("its cgroups are %q, want %q among them", text, inside)
	}
	again, err := OpenCgroup(c.Path())
	must(t, err)
	if populated, err := again.Populated(); !populated || err != nil {
		t.Errorf("populated: %v %v, want populated", populated, err)
	}
	if err := again.Remove(); err == nil {
		t.Error("a populated cgroup was removed")
	}
	must(t, again.Kill())
	wantDone(t, p.Handle)
	if got := p.Exit().String(); got != "signal KILL" {
		t.Errorf("exit is %q, want signal KILL", got)
	}
}

func TestCgroupThatIsGone(t *testing.T) {
	c := newCgroup(t)
	must(t, os.Mkdir(filepath.Join(c.Path(), "made by the program"), 0o700))
	must(t, c.Remove())
	must(t, c.Remove())
	must(t, c.Kill())
	if populated, err := c.Populated(); populated || err != nil {
		t.Errorf("populated: %v %v, want not", populated, err)
	}
	if _, err := c.Open(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open: %v, want not there", err)
	}
	if _, err := OpenCgroup(c.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open by path: %v, want not there", err)
	}
	if _, err := OpenCgroup(t.TempDir()); err == nil {
		t.Error("any folder is taken for a cgroup")
	}
}

func TestCgroupNames(t *testing.T) {
	for _, name := range []string{"", "a/b", "/", "../a", "a\nb"} {
		if c, err := MakeCgroup("group", name); err == nil {
			t.Errorf("%q: made %s, want an error", name, c.Path())
		}
	}
}

// The program can be started without the cgroup, says the error; a program that
// could not be started anyhow says nothing of it.
func TestStartInWhatIsNoCgroup(t *testing.T) {
	folder, err := os.Open(t.TempDir())
	must(t, err)
	defer folder.Close()
	spec := roleSpec("exit 0")
	spec.Cgroup = folder
	if h, err := Start(spec); h != nil || !errors.Is(err, ErrCgroup) {
		t.Errorf("start: %v, want ErrCgroup", err)
	}
	spec.Path = "/nonexistent"
	if h, err := Start(spec); h != nil || err == nil || errors.Is(err, ErrCgroup) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("start: %v, want that it does not exist", err)
	}
}

// What ran in a cgroup is told by it also when nothing is left of it, and whether
// something can be started in it for sure.
func TestCgroupTellsWhatRanInIt(t *testing.T) {
	c := newCgroup(t)
	before, err := c.Usage()
	must(t, err)
	if before != 0 || !c.Reusable() {
		t.Errorf("a new cgroup: %v used, fresh: %v", before, c.Reusable())
	}
	for range 2 { // nothing was killed, so it serves again
		p, _ := startProgram(t, "wait", c)
		p.line(t)
		must(t, p.Kill())
		wantDone(t, p.Handle)
		eventually(t, "it is empty", func() bool {
			populated, err := c.Populated()
			must(t, err)
			return !populated
		})
		after, err := c.Usage()
		must(t, err)
		if after <= before || !c.Reusable() {
			t.Errorf("%v used after %v, fresh: %v", after, before, c.Reusable())
		}
		before = after
	}
	again, err := OpenCgroup(c.Path())
	must(t, err)
	taken, err := MakeCgroup(strings.TrimPrefix(filepath.Base(filepath.Dir(c.Path())), "pairguard-"), "程序 a")
	must(t, err)
	must(t, c.Kill())
	if again.Reusable() || taken.Reusable() || c.Reusable() {
		t.Errorf("fresh: %v opened, %v found there, %v killed", again.Reusable(), taken.Reusable(), c.Reusable())
	}
}
