package pairguard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/protocol"
)

// Member is this process as one of a pair. Its methods are safe for concurrent
// use.
type Member struct {
	settings   settings
	dir        *pairdir.Dir
	self, peer pairdir.Name
	liveness   *liveness
	main       func() *Part
	inbox      chan message
	requests   *requests
	quit       chan struct{} // closed when the loop has ended

	begun atomic.Bool
	mu    sync.Mutex // guards last
	last  Status     // what Status says while no loop runs
}

// New checks the configuration and prepares a member; nothing is touched but the
// folder, which is made if it is missing. The errors name the field or the file
// and what to do about it.
func New(cfg Config) (*Member, error) {
	s, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	path, err := folderPath(s.Dir)
	if err != nil {
		return nil, err
	}
	dir, err := pairdir.Open(path)
	if err != nil {
		return nil, fmt.Errorf("pairguard: %w", err)
	}
	m := &Member{settings: s, dir: dir, inbox: make(chan message, 64), quit: make(chan struct{}), requests: newRequests()}
	if m.self, err = dir.Name(s.Self); err != nil {
		return nil, fmt.Errorf("pairguard: %w", err)
	}
	if m.peer, err = dir.Name(s.Peer); err != nil {
		return nil, fmt.Errorf("pairguard: %w", err)
	}
	if m.self.Key() == m.peer.Key() {
		return nil, fmt.Errorf("pairguard: %s and %s are the same address: the two need different names", s.Self, s.Peer)
	}
	m.liveness = newLiveness(s)
	m.liveness.wake = m.wakeForBeat
	m.main = sync.OnceValue(func() *Part { return m.Part("main", 0) })
	m.last = Status{Self: s.Self, Peer: s.Peer, Phase: protocol.Unbegun.String()}
	return m, nil
}

// Guard is the whole library in one line, with the three parameters of the Qt
// class: be self and guard peer, which is started by peerExecutable. It blocks as
// [Member.Run] does.
func Guard(ctx context.Context, self, peer, peerExecutable string) error {
	m, err := New(Config{Self: self, Peer: peer, Command: []string{peerExecutable}})
	if err != nil {
		return err
	}
	return m.Run(ctx)
}

// Run takes the name, listens, and guards the peer until this process leaves, the
// pair is stopped (by either member or an operator), or ctx is cancelled, which is
// a leave. It returns nil after such an announced end, else what went wrong:
// errors.Is [ErrNameTaken] when another live process holds the name. It may be
// called once.
func (m *Member) Run(ctx context.Context) error {
	if m.begun.Swap(true) {
		return errors.New("pairguard: Run may be called once: make a new Member")
	}
	return m.run(ctx)
}

// Leave asks this member to go: its goodbye is stored, the peer is told and stays,
// and Run returns. It returns at once, also before Run, which then leaves as soon as
// it has begun.
func (m *Member) Leave(reason string) { m.requests.ask(protocol.LeaveAsked{Reason: reason}) }

// Stop ends the pair: its goodbye is stored, the peer is told, waited for, and
// killed after the grace time; then Run returns. Stop itself returns at once.
// Calling it again while it waits kills the peer at once.
func (m *Member) Stop(reason string) { m.requests.ask(protocol.StopAsked{Reason: reason}) }

// Hold suspends judging and reviving of the peer for d, which must be longer than
// zero, for example while it is being updated. It survives the death of this
// process. An error says that it could not be stored; then nothing has changed.
func (m *Member) Hold(d time.Duration, reason string) error {
	if err := m.dir.StoreHold(m.peer, d, reason); err != nil {
		return err
	}
	m.requests.ask(protocol.LookAsked{})
	return nil
}

// Unhold ends the hold of the peer; there being none is no error.
func (m *Member) Unhold() error {
	if err := m.dir.ClearHold(m.peer); err != nil {
		return err
	}
	m.requests.ask(protocol.LookAsked{})
	return nil
}

// HoldSelf asks the peer to leave this process alone for d, which must be longer than
// zero, for example before it is suspended: it is not judged meanwhile. The hold ends
// with this process: its death is answered. A hold that exists is replaced.
func (m *Member) HoldSelf(ctx context.Context, d time.Duration, reason string) error {
	if d <= 0 {
		return fmt.Errorf("pairguard: hold for %v: it must be longer than zero", d)
	}
	return m.changeOwnHold(ctx, func() error { return m.dir.StoreOwnHold(m.self, d, reason) })
}

// UnholdSelf ends the hold of HoldSelf; one that a person has put in its place stays.
func (m *Member) UnholdSelf(ctx context.Context) error {
	return m.changeOwnHold(ctx, func() error { return m.dir.ClearOwnHold(m.self) })
}

// changeOwnHold tells both members of it, as [Folder.Hold] does.
func (m *Member) changeOwnHold(ctx context.Context, change func() error) error {
	if err := change(); err != nil {
		return fmt.Errorf("pairguard: hold of %s: %w", m.self, err)
	}
	f := Folder{path: m.dir.Path(), dir: m.dir}
	f.lookAll(ctx, map[string]pairdir.Name{m.self.Key(): m.self, m.peer.Key(): m.peer})
	return nil
}

// Status is what one member knows of the pair.
type Status struct {
	Self       string
	PID        int // of this member
	Peer       string
	PeerPID    int           // 0: none
	Phase      string        // see docs/states.md
	Plain      bool          // the peer does not speak the protocol
	GuardsHang bool          // a hang of the peer would be noticed, not only its death
	Generation uint64        // which life of its name this member is
	Revived    uint64        // how often it has revived its peer
	Held       time.Duration // how long judging stays suspended; 0: not held
}

// Status reports what this member knows now; while nothing runs (before Run, and
// after it has returned) what it knew last.
func (m *Member) Status() Status {
	reply := make(chan Status, 1)
	if m.begun.Load() && m.post(question{reply}) {
		select {
		case s := <-reply:
			return s
		case <-m.quit:
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// wakeForBeat tells the loop that the application has shown the sign of life that
// the last heartbeat lacked. It never blocks; if the loop is busy the next sign
// tries again.
func (m *Member) wakeForBeat() {
	select {
	case m.inbox <- beatPaid{}:
	default:
		m.liveness.owed.Store(true)
	}
}
