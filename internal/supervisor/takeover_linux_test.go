package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/pairdir"
)

func TestRunStopDown(t *testing.T) {
	s := newStage(t)
	r := s.run(s.define("web", "wait"))
	st := s.awaitGuarded()
	if len(st.Programs) != 1 || st.Programs[0].State != "RUNNING" || st.Programs[0].PID != r.PID {
		t.Fatalf("status: %+v", st)
	}
	c, err := s.call.Stop(s.context(), control.StopParams{Names: []string{"web"}})
	must(t, err)
	if len(c.Programs) != 1 || c.Programs[0].Did != control.DidStop || c.Programs[0].PID != r.PID {
		t.Fatalf("stop: %+v", c)
	}
	if alive(r.PID) {
		t.Fatal("stop answered while the program lived")
	}
}

func TestKilledProgramComesBack(t *testing.T) {
	s := newStage(t)
	first := s.run(s.define("web", "wait")).PID
	must(t, syscall.Kill(first, syscall.SIGKILL))
	s.await("a new process", func() bool { p := s.program("web"); return p.State == "RUNNING" && p.PID != first })
	p := s.program("web")
	if p.Restarts != 1 || p.LastExit == nil || p.LastExit.Signal == nil || *p.LastExit.Signal != "KILL" {
		t.Fatalf("status: %+v", p)
	}
}

// Programs are started from a thread that has next to nothing open, and where that is
// not to be had from any.
func TestThreadOfStarts(t *testing.T) {
	for without, want := range map[string]bool{"": true, "forker": false} {
		t.Run("without "+without, func(t *testing.T) {
			t.Setenv("PAIRGUARD_TEST_WITHOUT", without)
			s := newStage(t)
			first := s.run(s.define("web", "wait")).PID
			s.awaitGuarded()
			if got := hasApart(t, s.pid(control.RoleActive)); got != want {
				t.Errorf("a thread with a table of its own: %v, want %v", got, want)
			}
			must(t, syscall.Kill(first, syscall.SIGKILL))
			s.await("a new process", func() bool { p := s.program("web"); return p.State == "RUNNING" && p.PID != first })
		})
	}
}

// hasApart reports whether a thread of the supervisor does not have the event log open.
func hasApart(t *testing.T, pid int) bool {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(folder)
	must(t, err)
	for _, task := range tasks {
		open, err := filepath.Glob(folder + "/" + task.Name() + "/fd/*")
		must(t, err)
		if len(open) > 0 && !slices.ContainsFunc(open, func(fd string) bool {
			target, err := os.Readlink(fd)
			return err == nil && strings.HasSuffix(target, ".events.jsonl")
		}) {
			return true
		}
	}
	return false
}

func TestKillEitherSupervisor(t *testing.T) {
	s := newStage(t)
	def := s.define("lines", "lines", "0", "20000")
	def.Log.Size, def.Log.Keep = 200_000, 1000
	program := s.run(def)
	for i := range 10 {
		role := control.RoleActive
		if i%2 == 1 {
			role = control.RoleStandby
		}
		st := s.awaitGuarded()
		victim := s.pid(role)
		begun := time.Now()
		must(t, syscall.Kill(victim, syscall.SIGKILL))
		s.await("both supervisors after a kill", func() bool {
			st = s.status()
			return st.Guarded && st.Supervisors[0].PID != victim && st.Supervisors[1].PID != victim
		})
		t.Logf("%s killed: guarded again after %v", role, time.Since(begun))
		p := st.Programs[0]
		if p.PID != program.PID || p.State != "RUNNING" || p.Generation != 1 {
			t.Fatalf("after the %s was killed: %+v", role, p)
		}
	}
	_, err := s.call.Stop(s.context(), control.StopParams{})
	must(t, err)
	n := checkLines(t, logsOf(t, s, "lines")...)
	t.Logf("%d lines", n)
}

// logsOf lists the logs of a program, the oldest first.
func logsOf(t *testing.T, s *stage, name string) []string {
	t.Helper()
	path := filepath.Join(s.dir, "logs", name+".log")
	var logs []string
	for n := 1000; n > 0; n-- {
		logs = append(logs, path+"."+strconv.Itoa(n))
	}
	return append(logs, path)
}

func TestBothKilled(t *testing.T) {
	s := newStage(t)
	program := s.run(s.define("web", "wait"))
	st := s.awaitGuarded()
	for _, one := range st.Supervisors {
		must(t, syscall.Kill(one.PID, syscall.SIGKILL))
	}
	s.await("the death of both", func() bool { return s.holder(control.First) == 0 && s.holder(control.Second) == 0 })
	if !alive(program.PID) {
		t.Fatal("the program died with its supervisors")
	}
	p := s.program("web") // starts supervisors
	if p.PID != program.PID || !p.Adopted || p.State != "RUNNING" {
		t.Fatalf("after both were killed: %+v", p)
	}
}

func TestHungSupervisors(t *testing.T) {
	for _, role := range []string{control.RoleActive, control.RoleStandby} {
		t.Run(role, func(t *testing.T) {
			s := newStage(t)
			def := s.define("lines", "lines", "0", "5000")
			program := s.run(def)
			s.awaitGuarded()
			hung := s.pid(role)
			must(t, syscall.Kill(hung, syscall.SIGSTOP))
			s.await("it to be fenced and replaced", func() bool {
				if alive(hung) {
					return false
				}
				st := s.status()
				return st.Guarded && st.Programs[0].PID == program.PID
			})
			_, err := s.call.Stop(s.context(), control.StopParams{})
			must(t, err)
			checkLines(t, logsOf(t, s, "lines")...)
		})
	}
}

// TestProgramThatTheDiskDoesNotKnow: both supervisors died before an up or run was on the
// disk. Who asks again gets the process that was started, and it stays known from then on.
func TestProgramThatTheDiskDoesNotKnow(t *testing.T) {
	s := newStage(t)
	def := s.define("web", "wait")
	program := s.run(def)
	killBoth := func() {
		t.Helper()
		for _, one := range s.awaitGuarded().Supervisors {
			must(t, syscall.Kill(one.PID, syscall.SIGKILL))
		}
		s.await("the death of both", func() bool { return s.holder(control.First) == 0 && s.holder(control.Second) == 0 })
	}
	killBoth()
	dir, err := pairdir.Open(s.dir)
	must(t, err)
	shelf, err := dir.Shelf(shelfName)
	must(t, err)
	forget(shelf, "web")
	if again := s.run(def); again.PID != program.PID {
		t.Fatalf("process %d runs beside %d", again.PID, program.PID)
	}
	s.await("its record on the disk", func() bool {
		st, err := Offline(s.dir)
		must(t, err)
		return len(st.Programs) == 1 && st.Programs[0].State == "RUNNING" && st.Programs[0].PID == program.PID
	})
	killBoth()
	if p := s.program("web"); p.PID != program.PID || p.State != "RUNNING" {
		t.Fatalf("after both were killed again: %+v", p)
	}
	if n := s.processesOf("wait"); n != 1 {
		t.Fatalf("%d processes of one program", n)
	}
}

// TestStrayEndsWithDown: nobody asks for it again.
func TestStrayEndsWithDown(t *testing.T) {
	s := newStage(t)
	stray := s.run(s.define("stray", "wait"))
	s.run(s.define("web", "wait"))
	for _, one := range s.awaitGuarded().Supervisors {
		must(t, syscall.Kill(one.PID, syscall.SIGKILL))
	}
	s.await("the death of both", func() bool { return s.holder(control.First) == 0 && s.holder(control.Second) == 0 })
	dir, err := pairdir.Open(s.dir)
	must(t, err)
	shelf, err := dir.Shelf(shelfName)
	must(t, err)
	forget(shelf, "stray")
	if n := len(s.status().Programs); n != 1 {
		t.Fatalf("%d programs, want the one that the disk knows", n)
	}
	if !alive(stray.PID) {
		t.Fatal("the stray was ended before anybody asked")
	}
	_, err = s.call.Down(s.context(), control.DownParams{})
	must(t, err)
	s.await("the end of the stray", func() bool { return !alive(stray.PID) })
}

// TestJobThatRanIsNotRunAgain: all that is left of the start of a job is its cgroup, as
// when it has ended and both supervisors died before the disk knew that it had begun.
func TestJobThatRanIsNotRunAgain(t *testing.T) {
	for what, gone := range map[string]bool{"the cgroup is empty": false, "the cgroup was removed": true} {
		t.Run(what, func(t *testing.T) { jobThatRan(t, gone) })
	}
}

func jobThatRan(t *testing.T, gone bool) {
	s := newStage(t)
	def := s.define("job", "wait")
	def.Restart = control.RestartNo
	job := s.run(def).PID
	st := s.awaitGuarded()
	s.await("its start on the disk", func() bool {
		st, err := Offline(s.dir)
		must(t, err)
		return len(st.Programs) == 1 && st.Programs[0].State == "RUNNING"
	})
	for _, one := range st.Supervisors {
		must(t, syscall.Kill(one.PID, syscall.SIGKILL))
	}
	s.await("the death of both", func() bool { return s.holder(control.First) == 0 && s.holder(control.Second) == 0 })
	must(t, syscall.Kill(job, syscall.SIGKILL))
	s.await("its death", func() bool { return !alive(job) })

	dir, err := pairdir.Open(s.dir)
	must(t, err)
	shelf, err := dir.Shelf(shelfName)
	must(t, err)
	var r runRecord
	found, err := shelf.Load("job", runExt, &r, func() error { return nil })
	must(t, err)
	if !found || r.Cgroup == "" {
		t.Skip("no cgroup can be made here")
	}
	r.Record.State, r.Record.Phase, r.Process = lifecycle.Starting, lifecycle.Birth, nil
	must(t, shelf.Store("job", runExt, r, false))

	if gone {
		must(t, os.Remove(r.Cgroup))
	}

	s.await("its end to be known", func() bool { return s.program("job").State == "EXITED" })
	if p := s.program("job"); p.Generation != 1 || p.LastExit == nil || p.LastExit.Code != nil || p.LastExit.Signal != nil {
		t.Fatalf("it was run again, or its exit is known: %+v", p)
	}
}

// TestManyEndedWhileNobodyActed: the ends of more programs than any queue has room for
// are told at once, by the loop to itself.
func TestManyEndedWhileNobodyActed(t *testing.T) {
	s := newStage(t)
	const many = 300
	var up control.UpParams
	for i := range many {
		def := s.define("p"+strconv.Itoa(i), "wait")
		def.Command, def.Restart, def.Inherit = []string{"/bin/sleep", "1000"}, control.RestartNo, nil
		up.Programs = append(up.Programs, def)
	}
	up.Inherit = []string{"PATH=/bin:/usr/bin"}
	_, err := s.call.Up(s.context(), up)
	must(t, err)
	st := s.awaitGuarded()
	s.await("all of it on the disk", func() bool {
		st, err := Offline(s.dir)
		must(t, err)
		running := 0
		for _, p := range st.Programs {
			if p.State == "RUNNING" {
				running++
			}
		}
		return running == many
	})
	for _, one := range st.Supervisors {
		_ = syscall.Kill(one.PID, syscall.SIGSTOP)
	}
	for _, one := range st.Supervisors {
		_ = syscall.Kill(one.PID, syscall.SIGKILL)
	}
	for _, p := range st.Programs {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	s.await("the death of both", func() bool { return s.holder(control.First) == 0 && s.holder(control.Second) == 0 })
	s.await("every end to be known", func() bool {
		ended := 0 // the first question starts supervisors
		for _, p := range s.status().Programs {
			if p.State == "EXITED" {
				ended++
			}
		}
		return ended == many
	})
}
