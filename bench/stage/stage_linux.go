package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pairguard/pairguard"
)

// markVariable is inherited by every process of a stage; its value is the root.
const markVariable = "PAIRGUARD_STAGE"

// Patience is the deadline of everything that is waited for without a time of its
// own: far above what a loaded machine needs.
const Patience = 20 * time.Second

// Stage is one folder of its own with the processes that were started for it.
// Safe for concurrent use.
type Stage struct {
	Root   string // everything lies below it; short, as the path of a socket must be
	Dir    string // the folder in which the pairs meet
	Binary string // pairguard's command

	mu     sync.Mutex // guards actors
	actors []*Actor
}

// Build builds a command of this module, as releases are built, into a file.
func Build(ctx context.Context, file, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, out)
	}
	return nil
}

// New makes a stage in a new temporary folder; inside names the pairs' folder
// below it.
func New(binary, inside string) (*Stage, error) {
	root, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	return &Stage{Root: root, Dir: filepath.Join(root, inside), Binary: binary}, nil
}

// module is this one.
const module = "github.com/pairguard/pairguard/"

// NewWith makes a stage and builds into its root what it needs: pairguard's command,
// which is its Binary, and further commands of the folder bench.
func NewWith(ctx context.Context, inside string, bench ...string) (*Stage, error) {
	s, err := New("", inside)
	if err != nil {
		return nil, err
	}
	s.Binary = s.Program("pairguard")
	err = Build(ctx, s.Binary, module+"cmd/pairguard")
	for _, name := range bench {
		err = errors.Join(err, Build(ctx, s.Program(name), module+"bench/"+name))
	}
	if err != nil {
		return nil, errors.Join(err, s.Close(true))
	}
	return s, nil
}

// Program is where NewWith puts a command.
func (s *Stage) Program(name string) string { return filepath.Join(s.Root, name) }

// Guard starts "pairguard guard self peer" with further arguments.
func (s *Stage) Guard(self, peer string, args ...string) (*Actor, error) {
	return s.Start(s.Binary, append([]string{"guard", self, peer, "--dir", s.Dir}, args...)...)
}

// Command runs a pairguard command on the stage's folder to its end.
func (s *Stage) Command(ctx context.Context, args ...string) (string, error) {
	a, err := s.Start(s.Binary, append(args, "--dir", s.Dir)...)
	if err != nil {
		return "", err
	}
	if err := a.Await(ctx); err != nil {
		return "", err
	}
	if code := a.ExitCode(); code != 0 {
		return a.Stdout(), fmt.Errorf("pairguard %s: exit code %d: %s", strings.Join(args, " "), code, a.Stderr())
	}
	return a.Stdout(), nil
}

// Start starts any program with the stage's mark, the stage's root as its working
// directory, and its output in files.
func (s *Stage) Start(path string, args ...string) (*Actor, error) {
	return s.start(exec.Command(path, args...))
}

func (s *Stage) start(cmd *exec.Cmd, env ...string) (*Actor, error) {
	a := &Actor{cmd: cmd, done: make(chan struct{})}
	a.cmd.Dir, a.cmd.Env = s.Root, append(s.Environ(), env...)
	stdout, err := os.CreateTemp(s.Root, "out")
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr, err := os.CreateTemp(s.Root, "err")
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	a.cmd.Stdout, a.cmd.Stderr = stdout, stderr
	a.stdout, a.stderr = stdout.Name(), stderr.Name()
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		a.err = a.cmd.Wait()
		close(a.done)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.actors = append(s.actors, a)
	return a, nil
}

// StartExample starts ./NAME, a program that takes everything from its
// environment, as a person in the stage's root would.
func (s *Stage) StartExample(name string) (*Actor, error) {
	return s.start(exec.Command("./"+name), "PAIRGUARD_DIR="+s.Dir)
}

// Environ is the environment of the stage's processes.
func (s *Stage) Environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PAIRGUARD_DIR=") && !strings.HasPrefix(v, markVariable+"=") {
			env = append(env, v)
		}
	}
	return append(env, markVariable+"="+s.Root)
}

// Folder is the operator's view of the stage's folder.
func (s *Stage) Folder() (*pairguard.Folder, error) { return pairguard.OpenFolder(s.Dir) }

// Close ends what is left, by pid, and removes the folder. The error says what was
// left, unless sweep: then that is expected.
func (s *Stage) Close(sweep bool) error {
	left, err := s.end()
	if len(left) > 0 && !sweep {
		err = errors.Join(err, fmt.Errorf("left behind: %v", left))
	}
	s.mu.Lock()
	actors := s.actors
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for _, a := range actors {
		err = errors.Join(err, a.Await(ctx))
	}
	return errors.Join(err, os.RemoveAll(s.Root))
}

// end freezes all processes first: otherwise those that are still there would
// start those again that are gone.
func (s *Stage) end() (left []Process, err error) {
	deadline := time.Now().Add(Patience)
	for frozen := false; !frozen; {
		if left, err = s.Processes(); err != nil {
			return nil, err
		}
		frozen = true
		for _, p := range left {
			if p.State != "T" {
				frozen = false
				p.Signal(stopSignal)
			}
		}
		if time.Now().After(deadline) {
			return left, fmt.Errorf("not frozen within %v: %v", Patience, left)
		}
	}
	for _, p := range left {
		p.Signal(killSignal)
	}
	return left, s.AwaitProcesses(context.Background(), "all are gone", func(now []Process) bool { return len(now) == 0 })
}

// Actor is a process that the stage itself has started.
type Actor struct {
	cmd            *exec.Cmd
	done           chan struct{}
	err            error // valid after done
	stdout, stderr string
}

// PID is its process number.
func (a *Actor) PID() int { return a.cmd.Process.Pid }

// Done is closed when it has ended.
func (a *Actor) Done() <-chan struct{} { return a.done }

// Signal sends a signal; one to a process that has ended is an error.
func (a *Actor) Signal(sig os.Signal) error { return a.cmd.Process.Signal(sig) }

// Await waits until it has ended.
func (a *Actor) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process %d (%s) has not ended: %w", a.PID(), strings.Join(a.cmd.Args, " "), ctx.Err())
	}
}

// ExitCode is its exit code once it has ended; -1 after a signal.
func (a *Actor) ExitCode() int { return a.cmd.ProcessState.ExitCode() }

// Stdout is what it has printed so far.
func (a *Actor) Stdout() string { return contents(a.stdout) }

// Stderr is what it has complained of so far.
func (a *Actor) Stderr() string { return contents(a.stderr) }

func contents(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimRight(text, "\n"))
}
