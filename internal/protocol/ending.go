package protocol

import (
	"time"

	"github.com/pairguard/pairguard/internal/wire"
)

const stopKind = wire.Stop

// ending is how we go.
type ending struct {
	kind      wire.GoodbyeKind
	reason    string
	initiator bool // the end began here, so the peer has to be waited for
	stored    bool // the goodbye stands in the folder (or could not be stored)
	// awaited are the processes whose end is waited for: the peer, and one whose
	// start was under way when the end began.
	awaited [2]Process
	killed  bool
	err     string

	guest     guest
	extended  bool // a guest has put off the end of the grace, once
	overtaken bool // a person has ended our stop by a start

	wrapper       Process // is waited for before the peer is told
	wrapperKilled bool
	unwrapped     bool          // its end has begun
	hurried       bool          // a second stop was asked for
	until         time.Duration // then the end of the grace that it shares with the peer; 0: no wrapper
}

// end begins the end. The one who begins it stores the goodbye first: that rename
// is the instant of leaving.
func (m *Machine) end(kind wire.GoodbyeKind, reason string, initiator bool) {
	if m.phase == Ending {
		m.endAgain(kind, reason, initiator)
		return
	}
	m.leaving = leaving{}
	m.enter(Ending, m.now+m.cfg.Grace)
	m.links.dialAt, m.lookAt = never, never
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
		if m.ending.stored && !m.ending.killed && (m.ending.wrapper.Known() || !m.ending.alone()) {
			m.ending.hurried = true
			m.hurry()
		}
	default:
		m.ending = ending{kind: kind, reason: reason, initiator: true}
		m.phaseAt = m.now + m.cfg.Grace
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
	if m.ending.kind == wire.Stop && m.endWrapper() {
		return
	}
	// On either link: our own may not be open yet, and whoever hears nothing more
	// from us would have to judge us hung.
	for _, l := range [...]Link{m.links.out, m.links.in, m.links.next} {
		if l != 0 && !m.peer.plain {
			m.sayBye(l)
		}
	}
	m.phaseAt = m.now + m.cfg.Grace
	if m.ending.until > m.now {
		m.phaseAt = m.ending.until
	}
	m.askAboutGuest()
	if m.ending.kind == wire.Stop && !m.peer.left {
		// A member hears of the stop from us, at the latest when it dials us, or from
		// the folder. A signal could end it in the middle of that.
		deaf := m.peer.plain || !m.peer.spoke && !m.peer.holder && !m.revival.speaker
		if m.ending.initiator || deaf {
			m.await(m.peer.process, deaf)
		}
	}
	m.finishIfAlone()
}

// await waits for a process to end; one that does not hear us is asked by other
// means.
func (m *Machine) await(p Process, deaf bool) {
	if !p.Known() || m.graves.hold(p) {
		return
	}
	for i := range m.ending.awaited {
		if a := m.ending.awaited[i]; a == p || !a.Known() {
			m.ending.awaited[i] = p
			break
		}
	}
	switch {
	case m.ending.killed:
		m.phaseAt = m.now + m.cfg.Grace
		m.do(Kill{p})
	case deaf:
		m.do(Terminate{p})
	}
}

// alone: nobody is waited for to end.
func (e *ending) alone() bool { return e.awaited == [2]Process{} }

// settled: there is nobody either of whom it has to be found out.
func (e *ending) settled() bool { return e.alone() && e.guest == guest{} && !e.wrapper.Known() }

// finishIfAlone ends when nobody has to be waited for any more. A start that is
// under way is waited for, so that what it started is known.
func (m *Machine) finishIfAlone() {
	if m.ending.stored && !m.revival.spawning && m.ending.settled() {
		m.finish()
	}
}

func (m *Machine) startedWhileEnding(p Process) {
	if m.ending.kind == wire.Stop && !m.ending.overtaken {
		m.await(p, !m.revival.speaker)
	}
	m.finishIfAlone()
}

func (m *Machine) diedWhileEnding(p Process) {
	for i, a := range m.ending.awaited {
		if a == p {
			m.ending.awaited[i] = Process{}
		}
	}
	m.guestGone(p)
	if p == m.ending.wrapper && p.Known() {
		m.wrapperEnded()
		return
	}
	m.finishIfAlone()
}

// graceOver: the peer did not end in time, or the disk did not take the goodbye.
func (m *Machine) graceOver() {
	switch {
	case m.late > 0 && (!m.ending.stored || m.ending.guest.from != 0):
		m.phaseAt = m.now + attention // its answer may stand behind the timer in the driver's queue
	case !m.ending.stored:
		m.goodbyeStored(GoodbyeStored{Kind: m.ending.kind, Err: "the disk did not answer within the grace time"})
	case m.ending.wrapper.Known():
		m.wrapperOver()
	case m.ending.guest != (guest{}):
		m.sayByeToGuest() // the folder does not answer: it is told, and not killed
		m.graceOver()
	case !m.ending.alone() && !m.ending.killed:
		m.killAwaited()
	default:
		if !m.ending.alone() {
			m.ending.err = "the peer was killed but the kernel has not ended it (state D?): it is still there"
		}
		m.finish()
	}
}

// hurry: whoever is waited for has no grace any more. What becomes of a guest the folder
// decides all the same.
func (m *Machine) hurry() {
	switch {
	case m.ending.wrapper.Known():
		m.wrapperOver()
	case !m.ending.alone() && !m.ending.killed:
		m.killAwaited()
	}
}

func (m *Machine) killAwaited() {
	m.ending.killed = true
	m.phaseAt = m.now + m.cfg.Grace
	for _, p := range m.ending.awaited {
		if p.Known() {
			m.do(Kill{p})
		}
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
