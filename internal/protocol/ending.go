package protocol

import (
	"github.com/pairguard/pairguard/internal/wire"
)

const stopKind = wire.Stop

// ending is how we go.
type ending struct {
	kind      wire.GoodbyeKind
	reason    string
	initiator bool // the end began here, so the peer has to be waited for
	stored    bool // the goodbye stands in the folder (or could not be stored)
	waiting   bool // for the peer's process to end
	killed    bool
	err       string
}

// end begins the end. The one who begins it stores the goodbye first: that rename
// is the instant of leaving.
func (m *Machine) end(kind wire.GoodbyeKind, reason string, initiator bool) {
	if m.phase == Ending {
		m.endAgain(kind, reason, initiator)
		return
	}
	m.enter(Ending, m.now+m.cfg.Grace)
	m.links.dialAt = never
	m.ending = ending{kind: kind, reason: reason, initiator: initiator, stored: !initiator}
	if initiator {
		m.do(StoreGoodbye{kind, reason})
		return
	}
	m.farewell()
}

// endAgain: a second stop kills at once; a stop during a leave takes the pair too.
func (m *Machine) endAgain(kind wire.GoodbyeKind, reason string, initiator bool) {
	switch {
	case !initiator || kind != wire.Stop:
	case m.ending.kind == wire.Stop:
		if m.ending.waiting && !m.ending.killed {
			m.graceOver()
		}
	default:
		m.ending = ending{kind: kind, reason: reason, initiator: true}
		m.do(StoreGoodbye{kind, reason})
	}
}

func (m *Machine) goodbyeStored(e GoodbyeStored) {
	if m.phase != Ending || m.ending.stored || e.Kind != m.ending.kind {
		return
	}
	m.ending.stored = true
	if e.Err != "" {
		m.ending.err = "the goodbye could not be stored: " + e.Err
	}
	m.farewell()
}

// farewell: the goodbye stands. A leave is done with it; a stop waits for those
// who do not hear of it by themselves.
func (m *Machine) farewell() {
	// On either link: our own may not be open yet, and whoever hears nothing more
	// from us would have to judge us hung.
	for _, l := range []Link{m.links.out, m.links.in} {
		if l != 0 && !m.peer.plain {
			m.sayBye(l)
		}
	}
	m.phaseAt = m.now + m.cfg.Grace
	deaf := m.peer.plain || !m.peer.spoke
	if m.ending.kind == wire.Stop && m.peer.process.Known() && !m.peer.left && (m.ending.initiator || deaf) {
		m.ending.waiting = true
		if deaf {
			m.do(Terminate{m.peer.process})
		}
		return
	}
	m.peer = counterpart{}
	m.finishIfAlone()
}

// finishIfAlone ends when nobody has to be waited for any more. A start that is
// under way is waited for, so that what it started is known.
func (m *Machine) finishIfAlone() {
	if m.ending.stored && !m.revival.spawning && !m.peer.process.Known() {
		m.finish()
	}
}

func (m *Machine) startedWhileEnding(p Process) {
	if m.ending.kind == wire.Leave {
		m.finishIfAlone()
		return
	}
	m.peer = counterpart{process: p, since: m.now}
	m.ending.waiting = true
	m.do(Terminate{p})
}

// graceOver: the peer did not end in time, or the disk did not take the goodbye.
func (m *Machine) graceOver() {
	switch {
	case !m.ending.stored:
		m.goodbyeStored(GoodbyeStored{Kind: m.ending.kind, Err: "the disk did not answer within the grace time"})
	case m.ending.waiting && m.peer.process.Known() && !m.ending.killed:
		m.ending.killed = true
		m.phaseAt = m.now + m.cfg.Grace
		m.do(Kill{m.peer.process})
	default:
		if m.ending.killed {
			m.ending.err = "the peer was killed but the kernel has not ended it (state D?): it is still there"
		}
		m.finish()
	}
}

func (m *Machine) finish() {
	reason := m.ending.kind.String()
	if m.ending.reason != "" {
		reason += ": " + m.ending.reason
	}
	m.do(Emit{Notice{Kind: Stopped, Reason: reason}})
	m.dropLinks()
	m.enter(Ended, never)
	m.do(End{m.ending.err})
}
