package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
)

// patience is how long a test waits for anything; it is not what it measures.
const patience = 20 * time.Second

// roles are what this binary is when it is not the test.
var roles = map[string]func(args []string) error{
	"supervise": superviseRole,
	"lines":     linesRole,
	"wait":      func([]string) error { return waitRole() },
	"deaf":      func([]string) error { signal.Ignore(syscall.SIGTERM); fmt.Println("deaf"); return waitRole() },
	"exit":      exitRole,
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role := roles[os.Args[1]]; role != nil {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// superviseRole is a supervisor: SELF PEER DIR.
func superviseRole(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if n, err := strconv.ParseUint(os.Getenv("PAIRGUARD_TEST_LIMIT"), 10, 64); err == nil && n > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	cfg := Config{Dir: args[2], Self: args[0], Peer: args[1], Command: superviseCommand(args[1], args[0], args[2])}
	if os.Getenv("PAIRGUARD_TEST_DEBUG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("self", args[0])
	}
	return Run(ctx, cfg)
}

func superviseCommand(self, peer, dir string) []string {
	return []string{os.Args[0], "supervise", self, peer, dir}
}

// waitRole lives until it is ended.
func waitRole() error {
	select {}
}

// linesRole prints numbered lines, COUNT of them (0: for ever), RATE a second.
func linesRole(args []string) error {
	count, _ := strconv.Atoi(args[0])
	rate, _ := strconv.Atoi(args[1])
	begun := time.Now()
	for i := 1; count == 0 || i <= count; i++ {
		if _, err := fmt.Printf("line %d\n", i); err != nil {
			return err
		}
		if ahead := time.Duration(i)*time.Second/time.Duration(rate) - time.Since(begun); ahead > time.Millisecond {
			<-time.After(ahead)
		}
	}
	return nil
}

// exitRole exits with the given code.
func exitRole(args []string) error {
	code, _ := strconv.Atoi(args[0])
	os.Exit(code)
	return nil
}

// stage is a folder with its supervisors.
type stage struct {
	t    *testing.T
	dir  string
	exe  string
	call *control.Client
	// limit is how many descriptors supervisors may have; 0: as many as the test.
	limit int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	dir, err := os.MkdirTemp("", "pgs")
	must(t, err)
	s := &stage{t: t, dir: filepath.Join(dir, "f"), exe: exe}
	must(t, os.Mkdir(s.dir, 0o700))
	s.call, err = NewClient(s.dir, s.launch)
	must(t, err)
	t.Cleanup(func() {
		s.end()
		if t.Failed() {
			s.dump()
		}
		_ = os.RemoveAll(dir)
	})
	return s
}

// launch starts the first supervisor as the command does.
func (s *stage) launch(context.Context) error {
	log, err := os.OpenFile(filepath.Join(filepath.Dir(s.dir), "supervisors.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	env := append(os.Environ(), "PAIRGUARD_TEST_LIMIT="+strconv.Itoa(s.limit))
	h, err := proc.Start(proc.Spec{Path: s.exe, Args: []string{"supervise", control.First, control.Second, s.dir}, Env: env, Output: log})
	if err == nil {
		h.Close()
	}
	return err
}

// end ends whatever the stage has started: first as people do, then by force.
func (s *stage) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.holder(control.Active) != 0 {
		if _, err := s.call.Down(ctx, control.DownParams{}); err != nil {
			s.t.Errorf("down: %v", err)
		}
	}
	for _, name := range []string{control.First, control.Second} {
		if err := await(ctx, func() bool { return s.holder(name) == 0 }); err != nil {
			s.t.Errorf("%s, process %d, is still there after down", name, s.holder(name))
			_ = syscall.Kill(s.holder(name), syscall.SIGKILL)
		}
	}
}

// dump shows what a person would look at.
func (s *stage) dump() {
	for _, path := range []string{filepath.Join(filepath.Dir(s.dir), "supervisors.log"), filepath.Join(s.dir, "supervisor.events.jsonl"),
		filepath.Join(s.dir, "supervisor.1.log"), filepath.Join(s.dir, "supervisor.2.log"), filepath.Join(s.dir, "supervisor.1.events.jsonl")} {
		b, err := os.ReadFile(path)
		if err == nil {
			s.t.Logf("%s:\n%s", filepath.Base(path), tail(string(b), 12000))
		}
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "...\n" + s[len(s)-n:]
	}
	return s
}

// holder is the process that holds a name; 0: none.
func (s *stage) holder(name string) int {
	d, err := pairdir.Open(s.dir)
	if err != nil {
		return 0
	}
	n, err := d.Name(name)
	if err != nil {
		return 0
	}
	h, err := d.Holder(n)
	if err != nil {
		return 0
	}
	return h.PID
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await looks until ok.
func await(ctx context.Context, ok func() bool) error {
	for wait := time.Millisecond; !ok(); wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	return nil
}

func (s *stage) await(what string, ok func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if await(ctx, ok) != nil {
		s.t.Fatalf("waited in vain for %s", what)
	}
}

func (s *stage) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// define is a definition of one of our roles.
func (s *stage) define(name string, role ...string) control.Definition {
	def := control.Default()
	def.Name, def.Command, def.Dir = name, append([]string{s.exe}, role...), "/"
	def.Inherit = append(os.Environ(), "PAIRGUARD_TEST_STAGE="+s.dir)
	return def
}

func (s *stage) run(def control.Definition) control.RunResult {
	s.t.Helper()
	r, err := s.call.Run(s.context(), control.RunParams{Program: def, Request: def.Name + time.Now().String()})
	must(s.t, err)
	if r.PID == 0 {
		s.t.Fatalf("%s was not started: %s", def.Name, r.Reason)
	}
	return r
}

func (s *stage) status() control.Status {
	s.t.Helper()
	st, err := s.call.Status(s.context(), control.NamesParams{})
	must(s.t, err)
	return st
}

func (s *stage) program(name string) control.Program {
	s.t.Helper()
	for _, p := range s.status().Programs {
		if p.Name == name {
			return p
		}
	}
	s.t.Fatalf("there is no program %s", name)
	return control.Program{}
}

func (s *stage) awaitGuarded() control.Status {
	s.t.Helper()
	var st control.Status
	s.await("both supervisors", func() bool { st = s.status(); return st.Guarded })
	return st
}

func (s *stage) pid(role string) int {
	s.t.Helper()
	for _, one := range s.status().Supervisors {
		if one.Role == role {
			return one.PID
		}
	}
	s.t.Fatalf("there is no %s supervisor", role)
	return 0
}

func alive(pid int) bool {
	h, err := proc.Open(pid)
	if err != nil {
		return false
	}
	defer h.Close()
	select {
	case <-h.Done():
		return false
	default:
		return true
	}
}

// checkLines makes sure that the logs of a program have every line once and in order,
// and returns how many.
func checkLines(t *testing.T, logs ...string) int {
	t.Helper()
	next := 1
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		for line := range strings.Lines(string(b)) {
			if want := fmt.Sprintf("line %d\n", next); line != want {
				t.Fatalf("%s: %q instead of %q", filepath.Base(path), line, want)
			}
			next++
		}
	}
	return next - 1
}
