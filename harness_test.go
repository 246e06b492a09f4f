package pairguard

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what has to happen; far beyond every
// bound that a test asserts, since these machines can be slow.
const patience = 20 * time.Second

// roleVariable makes the test binary a member instead of running tests.
const roleVariable = "PAIRGUARD_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(playRole(strings.Split(role, " ")))
	}
	goleak.VerifyTestMain(m)
}

// playRole is the peer of a test, "member SELF PEER [deadlock-file]", or a program
// that is no member, "program obedient|stubborn READY-FILE".
func playRole(role []string) int {
	if role[0] == "program" {
		return playProgram(role[1] == obedientProgram, role[2])
	}
	if role[0] == "idle" { // an ordinary program
		<-time.After(time.Hour)
		return 0
	}
	cfg := Config{Self: role[1], Peer: role[2], Command: []string{os.Args[0]}}
	switch role[0] {
	case "member":
	case "deadlock": // its application hangs as soon as the file is there
		cfg.Healthy = hangWhen(role[3])
	case "failing":
		cfg.Healthy = func(context.Context) error {
			if _, err := os.Stat(role[3]); err == nil {
				return fmt.Errorf("the database is gone")
			}
			return nil
		}
	}
	m, err := New(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := proc.OnEndRequest(func(string) { cancel() }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if role[0] == "beating" {
		go beatUntil(m, role[3])
	}
	if err := m.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// playProgram ends when it is asked to, or not even then.
func playProgram(obedient bool, ready string) int {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	err := proc.OnEndRequest(func(string) { asked <- syscall.SIGTERM })
	if err == nil {
		err = os.WriteFile(ready, nil, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		<-asked
		if obedient {
			return 0
		}
	}
}

// hangWhen is a check that never returns once the file is there, once: the file
// is removed, so that the next life is healthy.
func hangWhen(file string) func(context.Context) error {
	return func(context.Context) error {
		if os.Remove(file) == nil {
			select {}
		}
		return nil
	}
}

// beatUntil is a main loop that stops when the file is there.
func beatUntil(m *Member, file string) {
	for range time.Tick(20 * time.Millisecond) {
		if os.Remove(file) == nil {
			select {}
		}
		m.Beat()
	}
}

// pair is a test's own folder, this process as member A, and what it heard.
type pair struct {
	t      *testing.T
	dir    string
	flag   string // the file that makes the peer's application hang or fail
	a      *Member
	result chan error
	cancel context.CancelFunc

	mu     sync.Mutex
	events []Event
	seen   int // events that await has gone past
	more   chan struct{}
}

// newPair prepares member A in this process, with B as a copy of the test binary.
func newPair(t *testing.T, role string, change func(*Config)) *pair {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, dir: dir, flag: filepath.Join(dir, "flag"), result: make(chan error, 1), more: make(chan struct{}, 1)}
	cfg := Config{
		Self: "A", Peer: "B", Command: []string{os.Args[0]}, Dir: filepath.Join(dir, "d"),
		Env:     append(os.Environ(), roleVariable+"="+role+" B A "+p.flag),
		OnEvent: p.hear,
	}
	if change != nil {
		change(&cfg)
	}
	if p.a, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	return p
}

func (p *pair) run() *pair {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.result <- p.a.Run(ctx) }()
	return p
}

// end stops whatever is still there and fails the test if something stays.
func (p *pair) end() {
	if p.cancel != nil {
		p.a.Stop("end of test")
		select {
		case <-p.result:
		case <-time.After(patience):
			p.t.Error("Run did not return after Stop")
		}
		p.cancel()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.t.Failed() {
		for _, e := range p.events {
			p.t.Logf("%s %s pid=%d gen=%d %q %v", e.Time.Format("05.000"), e.Kind, e.PeerPID, e.Generation, e.Reason, e.After)
		}
	}
	os.RemoveAll(p.dir)
}

func (p *pair) hear(e Event) {
	p.mu.Lock()
	p.events = append(p.events, e)
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// await returns the next event of the kind, past those that were awaited before.
func (p *pair) await(kind EventKind) Event {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		for p.seen < len(p.events) {
			e := p.events[p.seen]
			p.seen++
			if e.Kind == kind {
				p.mu.Unlock()
				return e
			}
		}
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-deadline:
			p.t.Fatalf("no %s within %v", kind, patience)
		}
	}
}

// count is how many events of the kind were heard so far.
func (p *pair) count(kind EventKind) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// open is a handle on the peer, by the pid that an event told.
func (p *pair) open(pid int) *proc.Handle {
	p.t.Helper()
	h, err := proc.Open(pid)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(h.Close)
	return h
}

// gone waits until the process is proved dead.
func (p *pair) gone(h *proc.Handle) {
	p.t.Helper()
	select {
	case <-h.Done():
	case <-time.After(patience):
		p.t.Fatalf("process %d is still there", h.PID())
	}
}
