package protocol

import (
	"fmt"
	"time"

	"github.com/pairguard/pairguard/internal/detector"
)

// noticeLateness: when we ourselves ran later than planned we have not heard
// silence, so every window in which the peer owes something grows by as much.
func (m *Machine) noticeLateness() {
	m.late = 0
	if m.expect == never {
		return
	}
	late := m.now - m.expect
	if late <= lateSlack {
		return
	}
	m.late = late
	m.silence.Late(late)
	owed := m.phase == Starting || m.phase == Ending && !m.ending.stored // by the disk
	if m.phase == Starting {
		m.peer.since += late // nor has it taken so long to start
	}
	if owed && m.phaseAt != never {
		m.phaseAt += late
	}
}

// judgeAt is when the silence of the peer has to be looked at next.
func (m *Machine) judgeAt() time.Duration {
	switch {
	case m.held:
		return never
	case m.phase == Suspect && m.audible():
		return m.suspect.lookAt
	case m.phase == Up && m.audible(), m.phase == Starting && m.peer.listens:
		return m.silence.SuspectAt()
	}
	return never
}

func (m *Machine) judge() {
	switch {
	case m.phase == Starting && m.cfg.PlainPermitted:
		m.takeForPlain()
	case m.phase == Suspect:
		m.weigh()
	default:
		m.suspected("")
	}
}

func (m *Machine) silenceInWords() string {
	words := fmt.Sprintf("silent for %v", m.silence.Silence(m.now).Round(time.Millisecond))
	if late := m.silence.OwnLateness(); late >= attention {
		words += fmt.Sprintf(" (for %v of it we could not listen)", late.Round(time.Millisecond))
	}
	switch {
	case m.phase == Suspect && m.suspect.why != "":
		words = m.suspect.why
	case m.reason != "":
		words += "; " + m.reason
	case !m.peer.spoke:
		words = "it listens but does not answer; " + words
	}
	return words
}

// hung: judged. It is killed, and nothing else happens before the proof.
func (m *Machine) hung(why string) {
	m.revival.noticed = m.now
	if !m.peer.process.Known() {
		m.tell(PeerHung, why+"; so it cannot be ended: waiting for its name lock")
		m.mourn("", "")
		return
	}
	m.tell(PeerHung, why)
	if m.dumping = m.cfg.Dump; m.dumping {
		m.do(Dump{m.peer.process})
		m.enter(Fencing, m.now+dumpPatience)
	} else {
		m.do(Kill{m.peer.process})
		m.enter(Fencing, m.now+fenceReminder)
	}
	m.dropLinks()
}

// fenceOverdue: the kernel has not ended a killed process yet. Nothing is started
// beside it; a person should know.
func (m *Machine) fenceOverdue() {
	if m.dumping { // it had its time to say what it was doing
		m.dumping = false
		m.do(Kill{m.peer.process})
		m.phaseAt = m.now + fenceReminder
		return
	}
	m.tell(PeerHung, "killed, but the kernel has not ended it yet (state D, or it gets no processor time): its successor waits")
	m.do(Kill{m.peer.process})
	m.phaseAt = m.now + 6*fenceReminder
}

// takeForPlain: it listens where plain peers may be, and does not answer HELLO.
func (m *Machine) takeForPlain() {
	m.plain()
	m.sign(m.now)
}

// replied: it answers, though not as a peer should, so it is not hung.
func (m *Machine) replied() {
	m.silence.Sign(m.now)
	switch {
	case m.phase != Suspect:
	case m.peer.spoke:
		m.enter(Up, never)
	default:
		m.enter(Starting, m.now+m.revival.window)
	}
}

// sign takes a sign of life that the peer gave at the time at.
func (m *Machine) sign(at time.Duration) {
	if !m.engaged() || m.phase == Fencing {
		return
	}
	if !m.peer.spoke {
		m.firstSign()
	}
	m.silence.Sign(at)
	m.reason = ""
	if m.phase == Suspect && m.silence.Judge(m.now) == detector.Healthy {
		m.enter(Up, never)
		m.tell(PeerUp, "it speaks again")
	}
}

// firstSign: the process has become the peer.
func (m *Machine) firstSign() {
	m.peer.spoke = true
	m.revival.speaker = m.revival.speaker || !m.peer.plain
	m.revival.settled(m.now - m.peer.since)
	m.setTimeout()
	m.silence.Restart(m.now)
	m.enter(Up, never)
	notice := Notice{Kind: PeerUp, PID: m.peer.process.PID, Generation: m.peer.generation}
	if !m.audible() {
		notice.Reason = "it does not speak to us: guarded against death only"
	}
	if m.revival.noticed != never {
		notice.After = m.now - m.revival.noticed
		m.revival.noticed = never
	}
	m.do(Emit{notice})
}

func (m *Machine) setTimeout() { m.silence.SetTimeout(m.timeout()) }

// timeout is the silence that one of the peer's kind needs to become a suspect.
func (m *Machine) timeout() time.Duration {
	if m.peer.plain {
		return max(m.cfg.Timeout, plainTimeout)
	}
	// Its own pace counts too: two heartbeats of it are the least that makes silence.
	return max(m.cfg.Timeout, 2*m.peer.heartbeat)
}

// hold suspends judging and reviving for d; 0 ends a hold.
func (m *Machine) hold(d time.Duration, reason string) {
	switch {
	case d > 0:
		m.heldUntil = m.now + d
		if !m.held {
			m.held = true
			words := fmt.Sprintf("for %v", d.Round(time.Second))
			if reason != "" {
				words += ": " + reason
			}
			m.tell(Held, words)
		}
	case m.held:
		m.held, m.heldUntil = false, never
		m.tell(Unheld, "")
		m.silence.Restart(m.now)
		switch m.phase {
		case Waiting:
			m.phaseAt = max(m.now, m.revival.startAt)
		case Suspect:
			m.suspect.inquiry.Begin()
			m.lookAgain(false, attention)
		}
	}
}
