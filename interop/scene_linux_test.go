package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/proc"
)

// patience is how long a test waits for what has to happen where it asserts no bound of its own; these machines can be slow.
const patience = 30 * time.Second

// scene is a pair of real programs in a folder of their own. Both are started by scripts, so that each is known by the mark
// that its script gives it, whoever ran the script.
type scene struct {
	t      *testing.T
	root   string // short: sockets lie below it
	env    []string
	grace  time.Time           // events before it are of an earlier act
	single []string            // members of which no two processes may be seen at a time
	waits  map[string]chan int // exit codes of what start began last
	urgent bool                // it takes longest, so it starts first
}

// newScene makes the folder; env is what its programs get beside the test's own environment.
func newScene(t *testing.T) *scene {
	t.Helper()
	root, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "t"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, root: root, waits: map[string]chan int{}}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "TMPDIR" && !strings.HasPrefix(name, "PAIRGUARD_") || name == "PAIRGUARD_TEST_RUN" {
			s.env = append(s.env, v)
		}
	}
	s.env = append(s.env, "TMPDIR="+filepath.Join(root, "t"), "PAIRGUARD_DIR="+s.dir(), "QT_QPA_PLATFORM=offscreen", sceneMark+"="+root)
	t.Cleanup(s.close)
	return s
}

func (s *scene) dir() string               { return filepath.Join(s.root, "d") }
func (s *scene) script(name string) string { return filepath.Join(s.root, name+".sh") }

// play writes the script that starts member name.
func (s *scene) play(name string, command ...string) {
	s.t.Helper()
	var quoted []string
	for _, word := range command {
		quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	text := fmt.Sprintf("#!/bin/sh\n%s=%s exec %s \"$@\"\n", memberMark, name, strings.Join(quoted, " "))
	s.write(name, text)
}

// write makes a member's script. Nothing is forked meanwhile: a child that still has it open for writing would keep others from
// running it.
func (s *scene) write(name, text string) {
	s.t.Helper()
	syscall.ForkLock.RLock()
	err := os.WriteFile(s.script(name), []byte(text), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		s.t.Fatal(err)
	}
}

// start runs a member's script as a person would.
func (s *scene) start(name string) {
	s.t.Helper()
	out, err := os.OpenFile(filepath.Join(s.root, name+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(s.script(name))
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	code := make(chan int, 1)
	s.waits[name] = code
	go func() {
		cmd.Wait()
		code <- cmd.ProcessState.ExitCode()
	}()
	outdate()
}

// gate lets a few scenes start at a time, so that those that measure times do not measure the others' starts.
var gate = make(chan struct{}, 6)

// pass waits at the gate, unless the scene is urgent, and returns how to leave it.
func (s *scene) pass() (leave func()) {
	if s.urgent {
		return func() {}
	}
	gate <- struct{}{}
	return func() { <-gate }
}

// close ends what a test that failed half-way has left.
func (s *scene) close() {
	if s.t.Failed() {
		s.confess()
	}
	out, err := s.run(patience, "stop", "--grace", "1s")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(look) {
		left := processes(s.root)
		if len(left) == 0 {
			break
		}
		for _, p := range left {
			s.t.Errorf("still there after the stop: %s, process %d; the stop: %v: %s", p.member, p.id.PID, err, out)
			s.kill(p)
		}
	}
	os.RemoveAll(s.root)
}

// confess shows what the pair saw.
func (s *scene) confess() {
	events := s.events()
	for _, e := range events[max(0, len(events)-40):] {
		s.t.Logf("%s %s %s pid=%d gen=%d %q %v", e.Time.Format("15:04:05.000"), e.Self, e.Kind, e.PeerPID, e.Generation, e.Reason, e.After)
	}
	for _, p := range processes(s.root) {
		s.t.Logf("there now: %s %v", p.member, p.id)
	}
	files, _ := filepath.Glob(filepath.Join(s.root, "*.out"))
	logs, _ := filepath.Glob(filepath.Join(s.dir(), "*.log"))
	for _, file := range append(files, logs...) {
		if b, err := os.ReadFile(file); err == nil && len(b) > 0 {
			s.t.Logf("%s:\n%s", filepath.Base(file), b[max(0, len(b)-2000):])
		}
	}
}

// run runs a pairguard command in the scene and returns what it prints; it may fail.
func (s *scene) run(limit time.Duration, args ...string) ([]byte, error) {
	cmd := exec.Command(build(s.t).pairguard, args...)
	cmd.Env = s.env
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	defer timer.Stop()
	defer outdate()
	return cmd.CombinedOutput()
}

// eventually waits until check holds, for at most limit, and returns how long that took.
func (s *scene) eventually(what string, limit time.Duration, check func() bool) time.Duration {
	s.t.Helper()
	begin := time.Now()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !check() {
		if time.Since(begin) > limit {
			s.t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
		s.watch()
	}
	return time.Since(begin)
}

// throughout fails the test as soon as check does not hold any more; it is for what must not happen in a span of time.
func (s *scene) throughout(what string, span time.Duration, check func() bool) {
	s.t.Helper()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for end := time.Now().Add(span); time.Now().Before(end); <-tick.C {
		s.watch()
		if !check() {
			s.t.Fatalf("does not stay so for %v: %s", span, what)
		}
	}
}

// watch is called at every look: two processes of a member that must be single are a broken promise, however short.
func (s *scene) watch() {
	s.t.Helper()
	for _, name := range s.single {
		if all := s.all(name); len(all) > 1 {
			s.t.Errorf("two processes of %s at a time: %v", name, all)
		}
	}
}

// all are the living processes of a member.
func (s *scene) all(name string) (found []proc.ID) {
	for _, p := range processes(s.root) {
		if p.member == name {
			found = append(found, p.id)
		}
	}
	return found
}

// settled waits until the scene is exactly one process of each name, and returns the one of the first name.
func (s *scene) settled(names ...string) proc.ID {
	s.t.Helper()
	s.eventually(fmt.Sprintf("exactly one process of each of %v", names), patience, func() bool { return s.exactly(names...) })
	return s.one(names[0])
}

func (s *scene) exactly(names ...string) bool {
	for _, name := range names {
		if len(s.all(name)) != 1 {
			return false
		}
	}
	return len(processes(s.root)) == len(names)
}

// one is the process of a member that has one; the zero ID when it has none, or several.
func (s *scene) one(name string) proc.ID {
	if all := s.all(name); len(all) == 1 {
		return all[0]
	}
	return proc.ID{}
}

// replaced waits until a new process of the name is there in place of old, and returns how long that took.
func (s *scene) replaced(name string, old proc.ID, limit time.Duration) time.Duration {
	s.t.Helper()
	return s.eventually("a new process of "+name, limit, func() bool {
		now := s.one(name)
		return now.PID != 0 && now != old
	})
}

// signal reaches the process through its handle, so that it can never be another one.
func (s *scene) signal(id proc.ID, sig os.Signal) {
	s.t.Helper()
	h, err := proc.Reopen(id)
	if err != nil {
		s.t.Fatalf("%v: %v", id, err)
	}
	defer h.Close()
	defer outdate()
	if err := h.Signal(sig); err != nil {
		s.t.Fatalf("%v: %v", id, err)
	}
}

func (s *scene) kill(p process) {
	h, err := proc.Reopen(p.id)
	if errors.Is(err, proc.ErrGone) {
		return
	}
	if err != nil {
		s.t.Errorf("%v: %v", p.id, err)
		return
	}
	defer h.Close()
	h.Kill()
}

// events are all that the members have told so far.
func (s *scene) events() []pairguard.Event {
	f, err := pairguard.OpenFolder(s.dir())
	if err != nil {
		return nil
	}
	events, _ := f.Events()
	return events
}

// count is how many events of the kind came since the act began.
func (s *scene) count(kinds ...pairguard.EventKind) (n int) {
	for _, e := range s.events() {
		for _, kind := range kinds {
			if e.Kind == kind && e.Time.After(s.grace) {
				n++
			}
		}
	}
	return n
}

// act begins a new act: events before it count no more.
func (s *scene) act() { s.grace = time.Now() }

// told waits until self has told of kind in this act.
func (s *scene) told(self string, kind pairguard.EventKind) (event pairguard.Event) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%s tells of %s", self, kind), patience, func() bool {
		for _, e := range s.events() {
			if e.Self == self && e.Kind == kind && e.Time.After(s.grace) {
				event = e
				return true
			}
		}
		return false
	})
	return event
}

// memberStatus is one entry of `pairguard status --json`.
type memberStatus struct {
	Self       string `json:"self"`
	PID        int    `json:"pid"`
	PeerPID    int    `json:"peer_pid"`
	Phase      string `json:"phase"`
	Plain      bool   `json:"plain"`
	GuardsHang bool   `json:"guards_hang"`
	Generation uint64 `json:"generation"`
	Revived    uint64 `json:"revived"`
	Running    bool   `json:"running"`
}

// status is what `pairguard status` says of self; the zero value when it does not know it.
func (s *scene) status(self string) memberStatus {
	s.t.Helper()
	out, _ := s.run(patience, "status", "--json") // exit code 3 when a member is away
	var report struct {
		Pairs []memberStatus `json:"pairs"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return memberStatus{}
	}
	for _, m := range report.Pairs {
		if m.Self == self {
			return m
		}
	}
	return memberStatus{}
}

// stopped stops the pair as an operator does; nothing of it may be there 10 s later.
func (s *scene) stopped() {
	s.t.Helper()
	begin := time.Now()
	if out, err := s.run(patience, "stop"); err != nil {
		s.t.Fatalf("pairguard stop: %v\n%s", err, out)
	}
	if took := time.Since(begin); took > pairguard.DefaultGrace+time.Second {
		s.t.Errorf("pairguard stop took %v", took)
	}
	s.throughout("nothing of the pair is there after the stop", 10*time.Second, func() bool { return len(processes(s.root)) == 0 })
}
