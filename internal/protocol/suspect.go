package protocol

import (
	"fmt"
	"time"

	"github.com/pairguard/pairguard/internal/detector"
)

// suspicion is how far the judging of a suspect has come.
type suspicion struct {
	lookAt   time.Duration // when it is looked at next
	probeAt  time.Duration // not before this it is probed again
	lastCall bool          // the window is over; what had arrived by then is still heard
	why      string        // what it owed, if that was not a sign of life

	inquiry   detector.Inquiry
	examining Process       // an Examine of it has not been answered
	askedAt   time.Duration // when that was asked for

	excuse detector.Cause // of the newest look
	told   [detector.Unclear]bool
}

// suspected: silent too long. From here on, and not before, it is looked at.
func (m *Machine) suspected(why string) {
	m.enter(Suspect, never)
	m.suspect = suspicion{examining: m.suspect.examining, askedAt: m.suspect.askedAt, why: why}
	m.tell(PeerSuspect, m.silenceInWords())
	m.takeSurvey() // it may have stopped the pair and not come to say so
	m.lookAgain(false, attention)
}

// weigh judges a suspect: by its silence, and by whether it had the chance to speak.
func (m *Machine) weigh() {
	s, finding := &m.suspect, m.finding()
	switch {
	case finding.Cause.Excuses() && !m.starvedTooLong(finding.Cause):
		m.excused(finding)
		m.lookAgain(false, excusedAttention)
	case s.excuse != detector.Nothing:
		m.excuseEnded(finding)
	case m.silence.Judge(m.now) != detector.Hung:
		m.lookAgain(false, attention)
	case finding.Cause.Unsure() && m.silence.Heard(m.now) < m.cfg.UnsureLimit:
		m.unsure(finding)
		m.lookAgain(false, excusedAttention)
	case s.lastCall && m.late < attention:
		m.hung(m.silenceInWords() + "; " + m.verdictInWords(finding))
	default:
		m.lookAgain(true, attention)
	}
}

// finding is what the looks at the suspect say by now.
func (m *Machine) finding() detector.Finding {
	switch s := &m.suspect; {
	case !m.peer.process.Known():
		return detector.Finding{Cause: detector.Unreadable, Words: "its process cannot be seen from here"}
	case s.examining.Known() && m.now-s.askedAt >= lookPatience:
		return detector.Finding{Cause: detector.Unreadable, Words: "whether it can run cannot be seen: the look at it does not come back"}
	}
	return m.suspect.inquiry.Finding(m.timeout())
}

// starvedTooLong: the starve limit, if there is one, ends the excuse of starvation.
func (m *Machine) starvedTooLong(c detector.Cause) bool {
	return c == detector.Starvation && m.cfg.StarveLimit > 0 && m.silence.Heard(m.now) >= m.cfg.StarveLimit
}

// excused: it had no chance to speak, so it is not judged, however long that lasts.
func (m *Machine) excused(f detector.Finding) {
	m.suspect.excuse = f.Cause
	m.tellLate(f, "not judged")
}

// unsure: nothing decides but time. Somebody who waits for it to be replaced wants
// to know why that does not happen.
func (m *Machine) unsure(f detector.Finding) {
	if f.Cause != detector.Unclear { // that will be cleared up in a moment
		m.tellLate(f, fmt.Sprintf("not judged before %v of silence", m.cfg.UnsureLimit))
	}
}

// tellLate says once for each cause why a suspect is not judged.
func (m *Machine) tellLate(f detector.Finding, what string) {
	if !m.suspect.told[f.Cause] {
		m.suspect.told[f.Cause] = true
		m.tell(PeerLate, m.silenceInWords()+"; "+what+": "+f.Words)
	}
}

// excuseEnded opens a window in which it can speak: one that stood still, or of
// which nothing is known any more, gets all the time that a peer has. One that
// starved had its window in the looks that say that it does not any more.
func (m *Machine) excuseEnded(f detector.Finding) {
	s := &m.suspect
	if s.excuse != detector.Starvation {
		s.inquiry.Begin()
	}
	if s.excuse != detector.Starvation || f.Cause.Unsure() {
		m.silence.Restart(m.now)
	}
	s.excuse = detector.Nothing
	m.lookAgain(false, attention)
}

// lookAgain plans the next look at a suspect. The looks come often, so that it
// shows when we are the late one; and there is a last call, because what arrived
// while we were late may still stand behind the timer in the driver's queue.
func (m *Machine) lookAgain(lastCall bool, in time.Duration) {
	m.suspect.lookAt, m.suspect.lastCall = m.now+in, lastCall
	m.probe()
	m.examine()
}

// examine looks at the suspect's process, one look at a time.
func (m *Machine) examine() {
	s := &m.suspect
	if p := m.peer.process; p.Known() && s.examining != p {
		s.examining, s.askedAt = p, m.now
		m.do(Examine{p})
	}
}

func (m *Machine) examined(e Examined) {
	if e.Process == m.suspect.examining {
		m.suspect.examining = Process{}
	}
	if m.phase == Suspect && e.Process == m.peer.process {
		m.suspect.inquiry.Look(m.now, e.Sample)
	}
}

// probe asks a suspect for a HELLO on a fresh connection, again and again until
// one is made and healthy. A plain peer is never probed: it takes a second
// connection for a second peer (protocol.md §7).
func (m *Machine) probe() {
	if m.peer.plain || m.links.probing || m.now < m.suspect.probeAt {
		return
	}
	if m.suspect.excuse != detector.Nothing {
		m.suspect.probeAt = m.now + m.cfg.Heartbeat // an answer would take what time it gets
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

// verdictInWords says what was found out about a suspect that is judged.
func (m *Machine) verdictInWords(f detector.Finding) string {
	switch {
	case f.Cause.Unsure():
		return f.Words + ", and the unsure limit is over"
	case f.Cause == detector.Starvation:
		return f.Words + ", and the starve limit is over"
	}
	return f.Words
}
