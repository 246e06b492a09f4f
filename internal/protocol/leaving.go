package protocol

import (
	"time"

	"github.com/pairguard/pairguard/internal/wire"
)

// leaving is a leave that was asked for and waits: a death that we have noticed is
// answered before we go, because nobody else would. At most one grace time long.
type leaving struct {
	asked  bool
	reason string
	by     time.Duration // the leave does not wait any longer; put off by the one start that it waits for
	tried  bool          // the peer could not be started: it is not tried again
}

// leave begins our leave, at once or when what we owe is done.
func (m *Machine) leave(reason string) {
	switch {
	case m.leaving.asked:
	case m.owing() && m.revival.noticed != never:
		m.leaving = leaving{asked: true, reason: reason, by: m.now + m.cfg.Grace}
		m.revival.startAt = m.now // there is no later for us
		if m.phase == Waiting {
			m.phaseAt = m.now
		}
	default:
		m.end(wire.Leave, reason, true)
	}
}

// owing: the peer is dead, or will be in a moment, and it is up to us to start it.
func (m *Machine) owing() bool {
	switch m.phase {
	case Fencing, Reviving:
		return true
	case Waiting:
		return !m.held && !m.leaving.tried
	}
	return false
}

// leaveWhenDone ends the waiting of a leave.
func (m *Machine) leaveWhenDone() {
	if m.leaving.asked && (!m.owing() || m.now >= m.leaving.by) {
		m.end(wire.Leave, m.leaving.reason, true)
	}
}

// leaveBy is when a waiting leave has to be looked at; never: none waits.
func (m *Machine) leaveBy() time.Duration {
	if m.leaving.asked {
		return m.leaving.by
	}
	return never
}
