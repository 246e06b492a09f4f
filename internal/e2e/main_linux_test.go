package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// built is where the commands of this module are that the tests start.
var built string

func command(name string) string { return filepath.Join(built, name) }

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "pgbin"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for name, pkg := range map[string]string{
		"pairguard": "cmd/pairguard", "procA": "examples/two-processes/procA", "procB": "examples/two-processes/procB",
	} {
		if err := stage.Build(ctx, command(name), "github.com/pairguard/pairguard/"+pkg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// trial is one test's stage; whatever it starts is gone when the test ends.
type trial struct {
	*testing.T
	*stage.Stage
	ctx context.Context
}

func newTrial(t *testing.T) *trial { return newTrialIn(t, command("pairguard"), "pairs") }

func newTrialIn(t *testing.T, binary, folder string) *trial {
	t.Helper()
	s, err := stage.New(binary, folder)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			t.Log(events(s))
		}
		// A test that failed half-way leaves its pair to us.
		if err := s.Close(t.Failed()); err != nil {
			t.Error(err)
		}
	})
	return &trial{T: t, Stage: s, ctx: ctx}
}

// events is the event log, for whoever has to find out what went wrong.
func events(s *stage.Stage) string {
	folder, err := s.Folder()
	if err != nil {
		return err.Error()
	}
	all, err := folder.Events()
	if err != nil {
		return err.Error()
	}
	all = all[max(len(all)-60, 0):]
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "\n%s %s %s peer_pid=%d gen=%d %s", e.Time.Format("05.000"), e.Self, e.Kind, e.PeerPID, e.Generation, e.Reason)
	}
	return b.String()
}

func (t *trial) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair watches two names; when the test ends the observer must not have seen two
// holders of one.
func (t *trial) pair(a, b string) *stage.Pair {
	p := t.NewPair(a, b)
	t.Cleanup(func() { t.verdict(p.Observer.Close()) })
	return p
}

func (t *trial) verdict(r stage.Report) {
	for _, what := range r.Broken {
		t.Error(what)
	}
	if r.Samples == 0 {
		t.Error("the observer has seen nothing")
	}
}

// guards starts a pair and waits until both are up.
func (t *trial) guards(a, b string, flags ...string) *stage.Pair {
	t.Helper()
	p := t.pair(a, b)
	p.First = t.guard(a, b, flags...)
	t.must(p.AwaitUp(t.ctx))
	return p
}

func (t *trial) guard(self, peer string, args ...string) *stage.Actor {
	t.Helper()
	a, err := t.Guard(self, peer, args...)
	t.must(err)
	return a
}

// stopped ends the pair as a person does and sees to it that nothing is left.
func (t *trial) stopped(p *stage.Pair) {
	t.Helper()
	t.must(p.StopPair(t.ctx))
}

// kill sends SIGKILL to the holder of a name and returns who that was.
func (t *trial) kill(p *stage.Pair, name string) int {
	t.Helper()
	pid := p.Observer.Holder(name)
	if pid == 0 {
		t.Fatalf("nobody holds %s", name)
	}
	t.must(syscall.Kill(pid, syscall.SIGKILL))
	return pid
}

// event waits until an event stands in a log of the folder.
func (t *trial) event(what string, match func(pairguard.Event) bool) pairguard.Event {
	t.Helper()
	deadline := time.After(stage.Patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		folder, err := t.Folder() // each time anew: it may not have been there before
		t.must(err)
		all, err := folder.Events()
		if i := slices.IndexFunc(all, match); err == nil && i >= 0 {
			return all[i]
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no such event: %s", what)
		}
	}
}

// count is how many events match.
func (t *trial) count(match func(pairguard.Event) bool) int {
	t.Helper()
	folder, err := t.Folder()
	t.must(err)
	all, err := folder.Events()
	t.must(err)
	return len(slices.DeleteFunc(all, func(e pairguard.Event) bool { return !match(e) }))
}

func saw(self string, kind pairguard.EventKind) func(pairguard.Event) bool {
	return func(e pairguard.Event) bool { return e.Self == self && e.Kind == kind }
}

func sawOf(self string, kind pairguard.EventKind, pid int) func(pairguard.Event) bool {
	return func(e pairguard.Event) bool { return e.Self == self && e.Kind == kind && e.PeerPID == pid }
}

// remains watches for a while that the stage's processes stay as they are: what
// is not to happen gives no event.
func (t *trial) remains(what string, d time.Duration, ok func([]stage.Process) bool) {
	t.Helper()
	over := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := t.Processes()
		t.must(err)
		if !ok(now) {
			t.Fatalf("not so any more: %s; processes: %v", what, now)
		}
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}

// exists waits until something stands at the path.
func (t *trial) exists(path string) {
	t.Helper()
	t.must(t.AwaitProcesses(t.ctx, path, func([]stage.Process) bool {
		_, err := os.Lstat(path)
		return err == nil
	}))
}

func none(now []stage.Process) bool { return len(now) == 0 }

// ended waits for the end of a process that the test started, and for its exit code.
func (t *trial) ended(a *stage.Actor, code int) {
	t.Helper()
	t.must(a.Await(t.ctx))
	if a.ExitCode() != code {
		t.Fatalf("exit code %d, want %d; it said %q", a.ExitCode(), code, a.Stderr())
	}
}

// times is how often a test does its thing: fewer with -short.
func times(short, full int) int {
	if testing.Short() {
		return short
	}
	return full
}
