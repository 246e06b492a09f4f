package realtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor"
)

// patience is how long a test waits for anything; it is not what it measures.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "supervise" {
		if err := supervise(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// supervise makes this binary a supervisor.
func supervise(self, peer, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return supervisor.Run(ctx, supervisor.Config{Dir: dir, Self: self, Peer: peer, Command: []string{os.Args[0], "supervise", peer, self, dir}})
}

// stage is a folder with its supervisors; room is beside it, for the program's files.
type stage struct {
	t    *testing.T
	dir  string
	room string
	call *control.Client
}

func newStage(t *testing.T) *stage {
	t.Helper()
	root, err := os.MkdirTemp("", "pgr")
	must(t, err)
	must(t, os.Chmod(root, 0o755)) // programs of other users have to get in
	s := &stage{t: t, dir: filepath.Join(root, "f"), room: filepath.Join(root, "r")}
	must(t, os.Mkdir(s.dir, 0o700))
	must(t, os.Mkdir(s.room, 0o755))
	s.call, err = supervisor.NewClient(s.dir, s.launch)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := s.call.Down(ctx, control.DownParams{}); err != nil {
			t.Errorf("down: %v", err)
		}
		s.awaitEnd(ctx)
		if t.Failed() {
			s.dump()
		}
		must(t, os.RemoveAll(root))
	})
	return s
}

// awaitEnd waits until both supervisors have ended: before that they put back what is
// removed.
func (s *stage) awaitEnd(ctx context.Context) {
	dir, err := pairdir.Open(s.dir)
	must(s.t, err)
	for _, which := range []string{control.First, control.Second} {
		name, err := dir.Name(which)
		must(s.t, err)
		for {
			holder, err := dir.Holder(name)
			if err == nil && !holder.Held {
				break
			}
			select {
			case <-ctx.Done():
				s.t.Errorf("%s has not ended", which)
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

func (s *stage) launch(context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	h, err := proc.Start(proc.Spec{Path: exe, Args: []string{"supervise", control.First, control.Second, s.dir}})
	if err == nil {
		h.Close()
	}
	return err
}

// dump shows what a person would look at.
func (s *stage) dump() {
	for _, pattern := range []string{"supervisor*.jsonl", "logs/*.log"} {
		paths, _ := filepath.Glob(filepath.Join(s.dir, pattern))
		for _, path := range paths {
			b, _ := os.ReadFile(path)
			s.t.Logf("%s:\n%s", filepath.Base(path), b[max(0, len(b)-6000):])
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *stage) await(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (s *stage) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *stage) status() control.Status {
	s.t.Helper()
	st, err := s.call.Status(s.context(), control.NamesParams{})
	must(s.t, err)
	if len(st.Programs) != 1 {
		s.t.Fatalf("one program was defined, there are: %+v", st.Programs)
	}
	return st
}

func active(st control.Status) int {
	for _, one := range st.Supervisors {
		if one.Role == control.RoleActive {
			return one.PID
		}
	}
	return 0
}

// run starts the program and returns its process.
func (s *stage) run(command []string, stopSignal string) int {
	s.t.Helper()
	path, err := exec.LookPath(command[0])
	must(s.t, err)
	def := control.Default()
	def.Name, def.Command, def.Dir = "real", append([]string{path}, command[1:]...), "/"
	def.Inherit = os.Environ()
	if stopSignal != "" {
		def.StopSignal = stopSignal
	}
	r, err := s.call.Run(s.context(), control.RunParams{Program: def, Request: s.dir})
	must(s.t, err)
	if r.PID == 0 {
		s.t.Fatalf("not started: %s", r.Reason)
	}
	return r.PID
}

// takeOver kills the active supervisor and waits until both are there again.
func (s *stage) takeOver(pid int) {
	s.t.Helper()
	var st control.Status
	s.await("both supervisors", func() bool { st = s.status(); return st.Guarded })
	victim := active(st)
	must(s.t, syscall.Kill(victim, syscall.SIGKILL))
	s.await("both supervisors after a kill", func() bool {
		st = s.status()
		return st.Guarded && active(st) != victim
	})
	if p := st.Programs[0]; p.PID != pid || p.Generation != 1 || p.State != "RUNNING" {
		s.t.Fatalf("the program was process %d; after the kill: %+v", pid, p)
	}
}

// tree opens a process and all its descendants.
func tree(t *testing.T, pid int) []*proc.Handle {
	t.Helper()
	h, err := proc.Open(pid)
	if err != nil {
		return nil // ended meanwhile
	}
	t.Cleanup(h.Close)
	all := []*proc.Handle{h}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(field)
			must(t, err)
			all = append(all, tree(t, child)...)
		}
	}
	return all
}

// checkGone fails if one of these processes lives. What waits for its parent to
// look at its exit code is dead.
func checkGone(t *testing.T, what string, all []*proc.Handle) {
	t.Helper()
	for _, h := range all {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.PID()))
		if err != nil {
			continue
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		if !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X") {
			t.Errorf("%s: one of %d processes is left: %s", what, len(all), stat)
		}
	}
}

func stop(s *stage) {
	s.t.Helper()
	_, err := s.call.Stop(s.context(), control.StopParams{})
	must(s.t, err)
}
