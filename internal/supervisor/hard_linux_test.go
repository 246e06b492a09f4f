package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/control"
)

// The programs of this file.
func init() {
	roles["once"] = onceRole
	roles["parent"] = parentRole
	roles["daemon"] = daemonRole
	roles["closed"] = closedRole
	roles["flood"] = floodRole
}

// onceRole lives for at most 20 ms and notes in FOLDER each life that had company.
func onceRole(args []string) error {
	f, err := os.OpenFile(filepath.Join(args[0], "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return os.WriteFile(filepath.Join(args[0], "doubled-"+strconv.Itoa(os.Getpid())), nil, 0o600)
	}
	fmt.Printf("life of %d\n", os.Getpid())
	<-time.After(rand.N(20 * time.Millisecond))
	return nil
}

// parentRole starts a child that holds the output open, and lives until it is ended;
// with "leave" it ends at once.
func parentRole(args []string) error {
	c := exec.Command(os.Args[0], "wait")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if len(args) > 1 && args[1] == "setsid" {
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if err := c.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(args[0], []byte(strconv.Itoa(c.Process.Pid)), 0o600); err != nil {
		return err
	}
	if args[len(args)-1] == "leave" {
		return nil
	}
	return waitRole()
}

// daemonRole does what daemons did: a child in a session of its own goes on.
func daemonRole(args []string) error { return parentRole([]string{args[0], "setsid", "leave"}) }

// closedRole closes everything that it was given, and lives.
func closedRole([]string) error {
	for fd := range 64 {
		_ = syscall.Close(fd)
	}
	return waitRole()
}

// floodRole prints as much as it is told, at once, and exits.
func floodRole(args []string) error {
	bytes, _ := strconv.ParseInt(args[0], 10, 64)
	line := []byte(strings.Repeat("x", 1023) + "\n")
	block := []byte(strings.Repeat(string(line), 64))
	for left := bytes; left > 0; left -= int64(len(block)) {
		if _, err := os.Stdout.Write(block[:min(left, int64(len(block)))]); err != nil {
			return err
		}
	}
	return nil
}

// TestNeverTwoOfAProgram kills supervisors while a program is started all the time.
func TestNeverTwoOfAProgram(t *testing.T) {
	s := newStage(t)
	folder := t.TempDir()
	def := s.define("once", "once", folder)
	def.Backoff = 0
	s.run(def)
	for range 12 {
		st := s.awaitGuarded()
		victims := [][]int{{0}, {0}, {1}, {0, 1}}
		for _, i := range victims[rand.N(len(victims))] {
			_ = syscall.Kill(st.Supervisors[i].PID, syscall.SIGKILL)
		}
		before := s.program("once").Generation
		s.await("more lives", func() bool { return s.program("once").Generation > before+3 })
	}
	doubled, err := filepath.Glob(filepath.Join(folder, "doubled-*"))
	must(t, err)
	if len(doubled) > 0 {
		t.Fatalf("%d lives had company", len(doubled))
	}
}

func TestStopIgnoringTERM(t *testing.T) {
	s := newStage(t)
	def := s.define("deaf", "deaf")
	def.Grace = control.Duration(300 * time.Millisecond)
	pid := s.run(def).PID
	s.awaitOutput("deaf", "deaf\n")
	c, err := s.call.Stop(s.context(), control.StopParams{})
	must(t, err)
	if len(c.Programs) != 1 || c.Programs[0].Did != control.DidKill || alive(pid) {
		t.Fatalf("stop: %+v", c)
	}
}

func TestStopSurvivesTheKillOfTheActiveOne(t *testing.T) {
	s := newStage(t)
	def := s.define("deaf", "deaf")
	def.Grace = control.Duration(time.Second)
	pid := s.run(def).PID
	s.awaitOutput("deaf", "deaf\n")
	s.awaitGuarded()
	stopped := make(chan error, 1)
	go func() {
		_, err := s.call.Stop(context.Background(), control.StopParams{})
		stopped <- err
	}()
	s.await("the stop to be under way", func() bool { return s.program("deaf").State == "STOPPING" })
	must(t, syscall.Kill(s.pid(control.RoleActive), syscall.SIGKILL))
	must(t, <-stopped)
	if alive(pid) {
		t.Fatal("stop answered while the program lived")
	}
	if p := s.program("deaf"); p.State != "STOPPED" || p.Generation != 1 {
		t.Fatalf("after the stop: %+v", p)
	}
}

// awaitOutput waits until a program has printed something.
func (s *stage) awaitOutput(name, text string) {
	s.t.Helper()
	s.await(name+" to print", func() bool {
		b, _ := os.ReadFile(filepath.Join(s.dir, "logs", name+".log"))
		return strings.Contains(string(b), text)
	})
}

// childOf waits for the number that parentRole writes.
func (s *stage) childOf(file string) (pid int) {
	s.t.Helper()
	s.await("the child", func() bool {
		b, err := os.ReadFile(file)
		pid, _ = strconv.Atoi(string(b))
		return err == nil && pid > 0
	})
	return pid
}

func TestTreeEndsWithItsProgram(t *testing.T) {
	for _, how := range []string{"same session", "setsid"} {
		t.Run(how, func(t *testing.T) {
			s := newStage(t)
			file := filepath.Join(t.TempDir(), "child")
			role := []string{"parent", file}
			if how == "setsid" {
				role = append(role, "setsid")
			}
			def := s.define("parent", role...)
			first := s.run(def).PID
			child := s.childOf(file)
			must(t, os.Remove(file))
			must(t, syscall.Kill(first, syscall.SIGKILL))
			second := s.childOf(file)
			if how == "same session" && alive(child) {
				t.Fatalf("process %d of the first life lived on into the second", child)
			}
			_, err := s.call.Stop(s.context(), control.StopParams{})
			must(t, err)
			if alive(second) {
				t.Fatalf("process %d lived on after stop", second)
			}
			if how == "setsid" && alive(child) {
				// Only a cgroup holds on to one that was orphaned by a kill.
				if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err == nil {
					t.Fatalf("process %d got away from a cgroup", child)
				}
				must(t, syscall.Kill(child, syscall.SIGKILL))
			}
		})
	}
}

func TestProgramThatDaemonizes(t *testing.T) {
	s := newStage(t)
	file := filepath.Join(t.TempDir(), "child")
	def := s.define("daemon", "daemon", file)
	def.Restart = control.RestartNo
	_, err := s.call.Run(s.context(), control.RunParams{Program: def, Request: "1"})
	must(t, err)
	child := s.childOf(file)
	w, err := s.call.Wait(s.context(), control.WaitParams{Name: "daemon"})
	must(t, err)
	if w.State != "EXITED" || w.LastExit == nil || w.LastExit.Code == nil || *w.LastExit.Code != 0 {
		t.Fatalf("wait: %+v", w)
	}
	if alive(child) {
		if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err == nil {
			t.Fatalf("process %d got away from a cgroup", child)
		}
		must(t, syscall.Kill(child, syscall.SIGKILL))
	}
}

func TestProgramThatClosesEverything(t *testing.T) {
	s := newStage(t)
	pid := s.run(s.define("closed", "closed")).PID
	s.awaitGuarded()
	must(t, syscall.Kill(s.pid(control.RoleActive), syscall.SIGKILL))
	s.awaitGuarded()
	if p := s.program("closed"); p.PID != pid || p.State != "RUNNING" {
		t.Fatalf("after a takeover: %+v", p)
	}
}

func TestEndWhileGrandchildHoldsTheOutput(t *testing.T) {
	s := newStage(t)
	file := filepath.Join(t.TempDir(), "child")
	def := s.define("parent", "parent", file, "leave")
	def.Restart = control.RestartNo
	_, err := s.call.Run(s.context(), control.RunParams{Program: def, Request: "1"})
	must(t, err)
	w, err := s.call.Wait(s.context(), control.WaitParams{Name: "parent"})
	must(t, err)
	if w.State != "EXITED" {
		t.Fatalf("wait: %+v", w)
	}
	if child := s.childOf(file); alive(child) {
		t.Fatalf("process %d was left behind", child)
	}
}

func TestFloodIsWhole(t *testing.T) {
	s := newStage(t)
	const size = 256 << 20
	def := s.define("flood", "flood", strconv.Itoa(size))
	def.Restart, def.Log.Size, def.Log.Keep = control.RestartNo, 20<<20, 1000
	s.run(def)
	w, err := s.call.Wait(s.context(), control.WaitParams{Name: "flood"})
	must(t, err)
	if w.State != "EXITED" || w.LastExit.Code == nil || *w.LastExit.Code != 0 {
		t.Fatalf("wait: %+v", w)
	}
	total := 0
	for _, path := range logsOf(t, s, "flood") {
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue
		}
		must(t, err)
		if len(b)%1024 != 0 || bytes.Count(b, []byte("\n")) != len(b)/1024 {
			t.Fatalf("%s: a line is torn", filepath.Base(path))
		}
		total += len(b)
	}
	if total != size {
		t.Fatalf("%d bytes instead of %d", total, size)
	}
}

func TestManyStartersAtOnce(t *testing.T) {
	s := newStage(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			def := s.define("p"+strconv.Itoa(i), "wait")
			if _, err := s.call.Run(s.context(), control.RunParams{Program: def, Request: def.Name}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	st := s.awaitGuarded()
	if len(st.Programs) != 8 || len(st.Supervisors) != 2 {
		t.Fatalf("status: %+v", st)
	}
}

func TestStateOfAnotherBootIsForgotten(t *testing.T) {
	s := newStage(t)
	folder := filepath.Join(s.dir, shelfName)
	must(t, os.Mkdir(folder, 0o700))
	def := s.define("old", "wait")
	b, err := json.Marshal(def)
	must(t, err)
	record := `{"version":1,"boot_id":"00000000-0000-0000-0000-000000000000","definition":` + string(b) + "}\n"
	must(t, os.WriteFile(filepath.Join(folder, "old.program"), []byte(record), 0o600))
	s.run(s.define("new", "wait"))
	if st := s.status(); len(st.Programs) != 1 || st.Programs[0].Name != "new" {
		t.Fatalf("status: %+v", st)
	}
}

func TestDamagedRecords(t *testing.T) {
	s := newStage(t)
	pid := s.run(s.define("web", "wait")).PID
	st := s.awaitGuarded()
	for _, one := range st.Supervisors {
		must(t, syscall.Kill(one.PID, syscall.SIGKILL))
	}
	s.await("the death of both", func() bool { return s.holder(control.First) == 0 && s.holder(control.Second) == 0 })
	must(t, os.WriteFile(filepath.Join(s.dir, shelfName, "web.run"), []byte("{"), 0o600))
	s.await("the program to be found by its pipe", func() bool { return s.program("web").PID == pid })
}

func TestExitStatusAfterATakeover(t *testing.T) {
	s := newStage(t)
	def := s.define("web", "wait")
	def.Restart = control.RestartNo
	pid := s.run(def).PID
	s.awaitGuarded()
	must(t, syscall.Kill(s.pid(control.RoleActive), syscall.SIGKILL))
	s.awaitGuarded()
	must(t, syscall.Kill(pid, syscall.SIGHUP))
	w, err := s.call.Wait(s.context(), control.WaitParams{Name: "web"})
	must(t, err)
	if w.State != "EXITED" || w.LastExit == nil || w.LastExit.Signal == nil || *w.LastExit.Signal != "HUP" {
		t.Fatalf("wait: %+v", w)
	}
}

func TestMissingExecutable(t *testing.T) {
	s := newStage(t)
	def := s.define("gone")
	def.Command = []string{filepath.Join(t.TempDir(), "missing")}
	r, err := s.call.Run(s.context(), control.RunParams{Program: def, Request: "1"})
	must(t, err)
	if r.PID != 0 || !strings.Contains(r.Reason, "missing") {
		t.Fatalf("run: %+v", r)
	}
	if p := s.program("gone"); p.State != "BACKOFF" || p.NextStart == nil {
		t.Fatalf("status: %+v", p)
	}
}

func TestSupervisorLeaves(t *testing.T) {
	s := newStage(t)
	pid := s.run(s.define("web", "wait")).PID
	s.awaitGuarded()
	active := s.pid(control.RoleActive)
	must(t, syscall.Kill(active, syscall.SIGTERM))
	s.await("the other to act", func() bool { st := s.status(); return st.Supervisors[0].PID != active })
	var st control.Status
	s.await("the status to say that the other has left", func() bool {
		st = s.status()
		return !st.Guarded && strings.Contains(st.WhyNotGuarded, "left")
	})
	if st.Programs[0].PID != pid {
		t.Fatalf("status: %+v", st)
	}
	s.run(s.define("another", "wait")) // a person asks: the other supervisor is wanted
	s.awaitGuarded()
}

func TestFolderRemoved(t *testing.T) {
	s := newStage(t)
	pid := s.run(s.define("web", "wait")).PID
	s.awaitGuarded()
	must(t, os.RemoveAll(s.dir))
	s.await("the folder to be back", func() bool {
		st, err := s.call.Status(s.context(), control.NamesParams{})
		return err == nil && len(st.Programs) == 1 && st.Programs[0].PID == pid
	})
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	s.await("a new process", func() bool { p := s.program("web"); return p.State == "RUNNING" && p.PID != pid })
}

// TestFullPipeWithoutSupervisors: a program whose supervisors are both dead waits when
// its pipe is full, and loses nothing.
func TestFullPipeWithoutSupervisors(t *testing.T) {
	s := newStage(t)
	def := s.define("lines", "lines", "60000", "20000")
	def.Restart = control.RestartNo
	s.run(def)
	st := s.awaitGuarded()
	for _, one := range st.Supervisors {
		_ = syscall.Kill(one.PID, syscall.SIGSTOP) // neither revives the other
	}
	for _, one := range st.Supervisors {
		_ = syscall.Kill(one.PID, syscall.SIGKILL)
	}
	s.await("the death of both", func() bool { return s.holder(control.First) == 0 && s.holder(control.Second) == 0 })
	pipe, err := os.OpenFile(filepath.Join(s.dir, shelfName, "lines.fifo"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	defer pipe.Close()
	s.await("the pipe to be full", func() bool {
		n, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
		return err == nil && n > 60<<10
	})
	w, err := s.call.Wait(s.context(), control.WaitParams{Name: "lines"})
	must(t, err)
	if w.State != "EXITED" {
		t.Fatalf("wait: %+v", w)
	}
	if n := checkLines(t, logsOf(t, s, "lines")...); n != 60000 {
		t.Fatalf("%d lines instead of 60000", n)
	}
}

// TestDescriptorsUsedUp: a program that cannot be started for want of descriptors says
// so, is tried again, and harms no other one.
func TestDescriptorsUsedUp(t *testing.T) {
	s := newStage(t)
	s.limit = 240
	for i := range 30 {
		def := s.define(fmt.Sprintf("p%02d", i), "wait")
		_, err := s.call.Run(s.context(), control.RunParams{Program: def, Request: def.Name})
		must(t, err)
	}
	running, waiting := 0, ""
	for _, p := range s.status().Programs {
		switch p.State {
		case "RUNNING":
			running++
		default:
			waiting = p.Note
		}
	}
	if running == 0 || running == 30 || !strings.Contains(waiting, "limit of open files") {
		t.Fatalf("%d of 30 run; the others say %q", running, waiting)
	}
	s.awaitGuarded()
	must(t, syscall.Kill(s.pid(control.RoleActive), syscall.SIGKILL))
	s.awaitGuarded()
	names := []string{}
	for i := range 15 {
		names = append(names, fmt.Sprintf("p%02d", i))
	}
	_, err := s.call.Stop(s.context(), control.StopParams{Names: names})
	must(t, err)
}

// TestKillDuringUp kills the active one while it starts many programs.
func TestKillDuringUp(t *testing.T) {
	s := newStage(t)
	s.run(s.define("first", "wait"))
	s.awaitGuarded()
	var up control.UpParams
	for i := range 40 {
		up.Programs = append(up.Programs, s.define(fmt.Sprintf("p%02d", i), "wait"))
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.call.Up(context.Background(), up)
		done <- err
	}()
	s.await("some of them", func() bool { n := len(s.status().Programs); return n > 5 })
	must(t, syscall.Kill(s.pid(control.RoleActive), syscall.SIGKILL))
	must(t, <-done)
	s.await("all of them, once", func() bool {
		running := 0
		for _, p := range s.status().Programs {
			if p.State == "RUNNING" && p.Restarts == 0 {
				running++
			}
		}
		return running == 41
	})
	if n := s.processesOf("wait"); n != 41 {
		t.Fatalf("%d processes for 41 programs", n)
	}
}

// processesOf counts the processes of this stage that play a role.
func (s *stage) processesOf(role string) (n int) {
	entries, err := os.ReadDir("/proc")
	must(s.t, err)
	mark := tokenVariable + "=pairguard-"
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || string(line) != s.exe+"\x00"+role+"\x00" {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err == nil && bytes.Contains(env, []byte(mark)) && bytes.Contains(env, []byte("PAIRGUARD_TEST_STAGE="+s.dir+"\x00")) {
			n++
		}
	}
	return n
}
