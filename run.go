package pairguard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/restart"
	"github.com/pairguard/pairguard/internal/wire"
)

// lastWords bounds how long the end waits for a slow disk or event handler.
const lastWords = 2 * time.Second

// run takes the name, and everything that follows from having it.
func (m *Member) run(ctx context.Context) error {
	defer close(m.quit)
	claim, err := m.dir.Claim(m.self)
	var taken *pairdir.TakenError
	if errors.As(err, &taken) {
		return &NameTakenError{Name: m.settings.Self, PID: taken.PID}
	}
	if err != nil {
		return err
	}
	defer claim.Release()
	if err := m.checkTwo(); err != nil {
		return err
	}
	host, err := m.begin(claim)
	if errors.Is(err, errLeftMeanwhile) {
		return nil
	}
	if err != nil {
		return err
	}
	return m.guard(ctx, host)
}

// checkTwo refuses to guard this very process: it would have to end itself in a stop,
// and nobody would be left after its death.
func (m *Member) checkTwo() error {
	holder, err := m.dir.Holder(m.peer)
	if err == nil && holder.Held && holder.PID == os.Getpid() {
		return fmt.Errorf("pairguard: %s and %s are both this process (%d): a pair is two processes, let one start the other",
			m.settings.Self, m.settings.Peer, holder.PID)
	}
	return nil // another error shows again when the folder is read
}

// errLeftMeanwhile: this process was started in answer to a death, and since then
// its name has lived on and left.
var errLeftMeanwhile = errors.New("the name has left meanwhile")

// begin starts a life of our name: from here on an earlier leave of it is over,
// and, if a person started us, a stop of the pair too.
func (m *Member) begin(claim *pairdir.Claim) (*realHost, error) {
	h := &realHost{
		settings: m.settings, dir: m.dir, self: m.self, peer: m.peer, claim: claim,
		ears: &ears{address: m.self.Address(), claim: claim},
	}
	var err error
	if h.me, err = proc.Self(); err != nil {
		return nil, err
	}
	token := os.Getenv(revivalVariable)
	revived, err := m.dir.Revives(m.self, token)
	if err != nil {
		return nil, err
	}
	if !revived {
		token = ""
		if err := m.resume(h.me); err != nil {
			return nil, fmt.Errorf("the pair was stopped and that cannot be undone: %w", err)
		}
		if _, _, err := m.dir.ReadLife(m.self); err != nil {
			h.damaged(err) // whatever else is wrong with it, BeginLife says
		}
	}
	if revived {
		// The start was decided before the last life of this name left: the successor
		// looks once more, and an announced end is not answered.
		if _, left, err := m.dir.ReadLeave(m.self); left || err != nil {
			return nil, cmp.Or(err, errLeftMeanwhile)
		}
	}
	if h.life, err = m.dir.BeginLife(m.self, m.peer, token); err != nil {
		return nil, err
	}
	return h, nil
}

// freshStop is how long after its announcement a stop may still be under way.
const freshStop = 10 * time.Second

// resume takes the stop of the pair back, as a start by a person does. A plain peer
// starts us by its own timer, which looks the same: so where there may be one, a stop
// that is still under way stays, and ends us too.
func (m *Member) resume(me proc.ID) error {
	stop, stopped, err := m.dir.ReadStop(m.self, m.peer)
	if err == nil && stopped && m.peer.PlainPermitted() && stop.Process != me {
		if age := time.Since(stop.Time); age >= 0 && age < freshStop && lives(stop.Process) {
			return nil
		}
	}
	return m.dir.ClearStop(m.self, m.peer)
}

func lives(id proc.ID) bool {
	h, err := proc.Reopen(id)
	if err != nil {
		return false
	}
	h.Close()
	return true
}

// guard listens and drives the machine until it has ended.
func (m *Member) guard(ctx context.Context, h *realHost) error {
	if err := h.ears.open(); err != nil {
		return err
	}
	defer h.ears.close()
	log, err := m.dir.OpenLog(m.self)
	l := m.newLoop(ctx, h, log)
	if err != nil {
		l.tell(Event{Kind: Listening, Reason: "no event log: " + err.Error()})
	}
	aside, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.ctx = aside
	h.ears.serve(l)
	l.tell(Event{Kind: Listening, Reason: m.circumstances(h)})
	begun := protocol.Begun{Survey: h.survey(l.known)}
	l.tellRemarks()
	l.step(begun)
	l.run(ctx)
	m.mu.Lock()
	m.last = l.status()
	m.mu.Unlock()
	cancel()
	h.ears.close()
	for id := range l.links {
		l.closeLink(id)
	}
	l.finish()
	if l.err != "" {
		return fmt.Errorf("pairguard: %s: %s", m.settings.Self, l.err)
	}
	return nil
}

func (m *Member) newLoop(ctx context.Context, h *realHost, log *pairdir.Log) *loop {
	s := m.settings
	return &loop{
		m: m, host: h, origin: time.Now(), checkAt: time.Now().Add(nameCheck),
		links: map[protocol.Link]*link{}, known: newProcesses(), herald: newHerald(s, log),
		machine: protocol.New(protocol.Config{
			Self: wire.WireName(s.Self), Peer: wire.WireName(s.Peer), PID: h.me.PID, Generation: h.life.Generation,
			Heartbeat: s.Heartbeat, Timeout: s.Timeout, StartTimeout: s.StartTimeout, Grace: s.Grace,
			UnsureLimit: s.UnsureLimit, StarveLimit: s.StarveLimit, Dump: s.Dump,
			Patience:       firstPatience(s, h.life.Revived),
			Restart:        restart.Policy{Backoff: s.Backoff, Max: s.BackoffMax, Stable: s.Stable},
			PlainPermitted: m.peer.PlainPermitted(),
			Random:         rand.Float64,
		}),
	}
}

// firstPatience is how long a peer that is not there is looked for before it is started.
// A person may be about to start it too; but one that has revived us was there a
// moment ago, and is dead.
func firstPatience(s settings, revived bool) time.Duration {
	if revived {
		return 0
	}
	return min(s.Heartbeat, time.Second)
}

// circumstances says what a person should know from the start.
func (m *Member) circumstances(h *realHost) string {
	notes := append(h.claim.Notes(), proc.Capabilities()...)
	notes = append(notes, m.settings.notes...)
	if m.settings.temporary {
		notes = append(notes, m.settings.executable+" lies in a temporary folder: when that is gone, "+m.settings.Peer+" cannot be started any more")
	}
	return strings.Join(notes, "; ")
}

// turnAway does with a message what has to be done after the end: whoever waits for
// an answer gets one, and a connection is closed.
func (l *loop) turnAway(msg message) {
	switch m := msg.(type) {
	case question:
		m.reach(l)
	case linkMade:
		m.conn.Close()
	}
}

// finish lets everything that runs aside come to its end: first the work, which
// may still post, then the watchers of processes.
func (l *loop) finish() {
	worked := make(chan struct{})
	go func() { l.aside.Wait(); close(worked) }()
	deadline := time.After(lastWords)
	for waiting := true; waiting; {
		select {
		case <-worked:
			waiting = false
		case msg := <-l.m.inbox:
			l.turnAway(msg)
		case <-deadline:
			waiting = false
		}
	}
	l.herald.close(lastWords)
	l.known.closeAll()
}
