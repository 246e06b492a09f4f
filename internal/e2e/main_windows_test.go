package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

const (
	// commandsVariable names the folder of pairguard.exe, procA.exe and procB.exe;
	// without it they are built here, which needs Go.
	commandsVariable = "PAIRGUARD_TEST_COMMANDS"
	// roleVariable makes the test binary a plain peer instead of a test.
	roleVariable = "PAIRGUARD_TEST_ROLE"

	patience = 30 * time.Second
	// pollPause is long enough for wine, where a reader keeps a file from being
	// replaced.
	pollPause = 20 * time.Millisecond
)

// slack is what the start of a process may take under wine, beyond every promise.
var slack = func() time.Duration {
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		return 3 * time.Second
	}
	return 0
}()

// awayLimit is how long a peer may be away at most, with the defaults.
var awayLimit = 3*time.Second + slack

var built string

func command(name string) string { return filepath.Join(built, name+".exe") }

func TestMain(m *testing.M) {
	if role := strings.Fields(os.Getenv(roleVariable)); len(role) == 3 {
		playPlainPeer(role[1], role[2])
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if built = os.Getenv(commandsVariable); built != "" {
		return m.Run()
	}
	var err error
	if built, err = os.MkdirTemp("", "pgbin"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built)
	for name, pkg := range map[string]string{
		"pairguard": "cmd/pairguard", "procA": "examples/two-processes/procA", "procB": "examples/two-processes/procB",
	} {
		out, err := exec.Command("go", "build", "-o", command(name), "github.com/pairguard/pairguard/"+pkg).CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "cannot build %s: %v: %s; or set %s\n", name, err, out, commandsVariable)
			return 1
		}
	}
	return m.Run()
}

// scene is one test's folder and the processes that were started for it. What is
// still there at its end is ended.
type scene struct {
	*testing.T
	root, dir string
	folder    *pairguard.Folder
	names     *pairdir.Dir
	ctx       context.Context
	actors    []*actor
	before    []uint32 // processes of a test that has failed
}

func newScene(t *testing.T) *scene { return newSceneIn(t, "d") }

func newSceneIn(t *testing.T, inside string) *scene {
	t.Helper()
	root, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{T: t, root: root, dir: filepath.Join(root, inside)}
	s.names = must(pairdir.Open(s.dir))(s) // makes it
	s.folder = must(pairguard.OpenFolder(s.dir))(s)
	s.before = s.processes()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	s.ctx = ctx
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			t.Log(s.events())
			for _, a := range s.actors {
				t.Logf("process %d said %q", a.PID(), a.said())
			}
		}
		s.stop()
		for _, a := range s.actors { // who is no member, or was never one
			_ = a.Kill()
			s.gone(a.Handle)
			a.Close()
		}
		if left := s.processes(); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		s.remove(root)
	})
	return s
}

// remove waits for those who may outlive a program whose working directory this was,
// and keep it meanwhile: its console host.
func (s *scene) remove(folder string) {
	s.Helper()
	var err error
	defer func() {
		if err != nil {
			s.Log(err)
		}
	}()
	s.until(folder+" is removed", func() bool {
		err = os.RemoveAll(folder)
		return err == nil
	})
}

func must[V any](v V, err error) func(*scene) V {
	return func(s *scene) V {
		s.Helper()
		if err != nil {
			s.Fatal(err)
		}
		return v
	}
}

func (s *scene) events() string {
	all, err := s.folder.Events()
	var b strings.Builder
	fmt.Fprintln(&b, err)
	for _, e := range all[max(len(all)-60, 0):] {
		fmt.Fprintf(&b, "%s %s %s peer_pid=%d gen=%d %s\n", e.Time.Format("05.000"), e.Self, e.Kind, e.PeerPID, e.Generation, e.Reason)
	}
	return b.String()
}

// actor is a process that a test started.
type actor struct {
	*proc.Handle
	output string // path
}

func (a *actor) said() string {
	b, _ := os.ReadFile(a.output)
	return string(bytes.TrimSpace(b))
}

// guard starts "pairguard guard self peer".
func (s *scene) guard(self, peer string, args ...string) *actor {
	s.Helper()
	return s.start(command("pairguard"), nil, append([]string{"guard", self, peer, "--dir", s.dir}, args...)...)
}

func (s *scene) start(path string, env []string, args ...string) *actor {
	s.Helper()
	out := must(os.CreateTemp(s.root, "out"))(s)
	defer out.Close()
	h := must(proc.Start(proc.Spec{Path: path, Args: args, Dir: s.root, Env: append(os.Environ(), env...), Output: out}))(s)
	s.actors = append(s.actors, &actor{Handle: h, output: out.Name()})
	return s.actors[len(s.actors)-1]
}

func (s *scene) gone(h *proc.Handle) {
	s.Helper()
	select {
	case <-h.Done():
	case <-time.After(patience):
		s.Fatalf("%v is still there", h.ID())
	}
}

// ended waits for the end of a process, and for its exit code.
func (s *scene) ended(a *actor, code int) {
	s.Helper()
	s.gone(a.Handle)
	if e := a.Exit(); e != (proc.ExitStatus{Known: true, Code: code}) {
		s.Errorf("process %d ended with %v, want exit code %d; it said %q", a.PID(), e, code, a.said())
	}
}

// until polls for what no event announces.
func (s *scene) until(what string, happened func() bool) {
	s.Helper()
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for deadline := time.After(patience); !happened(); {
		select {
		case <-tick.C:
		case <-deadline:
			s.Fatalf("not seen within %v: %s", patience, what)
		}
	}
}

// holder is the process that holds the name, 0 if none is seen.
func (s *scene) holder(name string) int {
	s.Helper()
	return must(s.names.Holder(must(s.names.Name(name))(s)))(s).PID
}

func (s *scene) open(pid int) *proc.Handle {
	s.Helper()
	h := must(proc.Open(pid))(s)
	s.Cleanup(h.Close)
	return h
}

// awaitUp waits until both run and say that the other one is up, and that nobody
// else runs.
func (s *scene) awaitUp(a, b string) {
	s.Helper()
	s.until(a+" and "+b+" are up, alone", func() bool {
		members, err := s.folder.Members(s.ctx, a, b)
		if err != nil || len(members) != 2 {
			return false
		}
		for i, m := range members {
			if other := members[1-i]; !m.Running || m.Phase != "up" || m.PeerPID != other.PID {
				return false
			}
		}
		return true
	})
	// Whoever was turned away may be on its way out.
	s.until("two processes", func() bool { return len(s.processes()) == 2 })
}

// replaced waits until another process than old holds the name, and says how long
// after the instant given.
func (s *scene) replaced(name string, old int, since time.Time) time.Duration {
	s.Helper()
	s.until(name+" is back", func() bool {
		pid := s.holder(name)
		return pid != 0 && pid != old
	})
	return time.Since(since)
}

// stop stops every pair of the folder.
func (s *scene) stop() {
	s.Helper()
	if report, err := s.folder.Stop(s.ctx, pairguard.DefaultGrace); err != nil {
		s.Errorf("%v %+v", err, report)
	}
}

// processes are those of the commands, by number. Tests of pairs run one after
// another, so that all that are new belong to this one.
func (s *scene) processes() (pids []uint32) {
	s.Helper()
	snapshot := must(windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0))(s)
	defer windows.CloseHandle(snapshot)
	e := windows.ProcessEntry32{}
	e.Size = uint32(unsafe.Sizeof(e))
	for err := windows.Process32First(snapshot, &e); err == nil; err = windows.Process32Next(snapshot, &e) {
		name := strings.ToLower(filepath.Base(windows.UTF16ToString(e.ExeFile[:])))
		if slices.Contains([]string{"pairguard.exe", "proca.exe", "procb.exe"}, name) && !slices.Contains(s.before, e.ProcessID) {
			pids = append(pids, e.ProcessID)
		}
	}
	return pids
}

// count is how many events of a member are of a kind.
func (s *scene) count(self string, kind pairguard.EventKind) (n int) {
	s.Helper()
	for _, e := range must(s.folder.Events())(s) {
		if e.Self == self && e.Kind == kind {
			n++
		}
	}
	return n
}

// times is how often a test does its thing: fewer with -short.
func times(short, full int) int {
	if testing.Short() {
		return short
	}
	return full
}

func quantile(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[int(q*float64(len(sorted)-1))]
}
