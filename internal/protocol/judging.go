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
	if m.phase == Starting && m.phaseAt != never {
		m.phaseAt += late
	}
}

// suspicion is how far the judging of a suspect has come.
type suspicion struct {
	lookAt   time.Duration // when it is looked at next
	lastCall bool          // the window is over; what had arrived by then is still heard
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
	case m.phase != Suspect:
		m.enter(Suspect, never)
		m.tell(PeerSuspect, m.silenceInWords())
		m.lookAgain(false)
	case m.silence.Judge(m.now, detector.Evidence{}) != detector.Hung:
		m.lookAgain(false)
	case m.suspect.lastCall && m.late < attention:
		m.hung(m.silenceInWords())
	default:
		m.lookAgain(true)
	}
}

// lookAgain plans the next look at a suspect. The looks come often, so that it
// shows when we are the late one; and there is a last call, because what arrived
// while we were late may still stand behind the timer in the driver's queue.
func (m *Machine) lookAgain(lastCall bool) {
	m.suspect = suspicion{lookAt: m.now + attention, lastCall: lastCall}
	m.probe()
}

// probe asks a suspect for a HELLO on a fresh connection, again and again until
// one is made. A plain peer is never probed: it takes a second connection for a
// second peer (protocol.md §7).
func (m *Machine) probe() {
	if m.peer.plain || m.links.probing {
		return
	}
	m.links.probing = true
	m.do(Dial{Probe: true})
}

func (m *Machine) probeDialed(e Dialed) {
	if m.phase != Suspect || !m.fits(e.Process) {
		m.links.probing = false
		m.do(CloseLink{e.Link})
		return
	}
	m.links.probe = e.Link
	m.do(Send{e.Link, m.hello()})
}

func (m *Machine) silenceInWords() string {
	words := fmt.Sprintf("silent for %v", m.silence.Silence(m.now).Round(time.Millisecond))
	switch {
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
		m.tell(PeerHung, why+"; its process cannot be seen from here, so it cannot be ended: waiting for its name lock")
		m.mourn("", "")
		return
	}
	m.tell(PeerHung, why)
	m.do(Kill{m.peer.process})
	m.dropLinks()
	m.enter(Fencing, m.now+fenceReminder)
}

// fenceOverdue: the kernel has not ended a killed process yet. Nothing is started
// beside it; a person should know.
func (m *Machine) fenceOverdue() {
	m.tell(PeerHung, "killed, but the kernel has not ended it yet (state D?): its successor waits")
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
	if m.phase == Suspect && m.silence.Judge(m.now, detector.Evidence{}) == detector.Healthy {
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

// setTimeout gives the peer the time that one of its kind needs.
func (m *Machine) setTimeout() {
	if m.peer.plain {
		m.silence.SetTimeout(max(m.cfg.Timeout, plainTimeout))
		return
	}
	// Its own pace counts too: two heartbeats of it are the least that makes silence.
	m.silence.SetTimeout(max(m.cfg.Timeout, 2*m.peer.heartbeat))
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
			m.lookAgain(false)
		}
	}
}
