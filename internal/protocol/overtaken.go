package protocol

import "github.com/pairguard/pairguard/internal/wire"

// guest greeted us during our stop. It may be one of the pair that had not heard of
// the stop; or a person has started it since, which ended the stop. The folder knows.
type guest struct {
	link    Link
	process Process
	from    uint64 // the survey that tells, or a newer one; 0: none was asked for yet
}

// receive lets a guest in, one at a time: another one dials again.
func (m *Machine) receive(l Link, p Process) {
	if m.ending.guest != (guest{}) && m.ending.guest.process != p {
		m.do(CloseLink{l})
		return
	}
	if old := m.ending.guest.link; old != 0 && old != l {
		m.do(CloseLink{old})
	}
	m.ending.guest.link, m.ending.guest.process = l, p
	m.askAboutGuest()
}

// askAboutGuest: what is read before our stop stands says nothing about it.
func (m *Machine) askAboutGuest() {
	switch g := m.ending.guest; {
	case g == guest{} || g.from != 0 || !m.ending.stored:
	case m.ending.err != "": // our stop does not stand in the folder
		m.sendAway()
	default:
		m.takeSurvey()
		m.ending.guest.from = m.revival.asked
		if !m.ending.extended && !m.ending.wrapper.Known() {
			m.ending.extended = true
			m.phaseAt = max(m.phaseAt, m.now+lookPatience) // the grace may be over: we stood still
		}
	}
}

// surveyedWhileEnding answers askAboutGuest. A folder that cannot be read says nothing
// against the stop.
func (m *Machine) surveyedWhileEnding(e Surveyed) {
	g := m.ending.guest
	if g.from == 0 || e.Token < g.from {
		return
	}
	switch {
	case e.Survey.Err != "" && m.ending.killed: // it would be killed at once, and may be what a person has started
		m.sayByeToGuest()
		m.finishIfAlone()
		return
	case e.Survey.Err != "" || e.Survey.Stopped:
		m.sendAway()
		m.finishIfAlone()
		return
	}
	// What is there now is not ours to end. We go, as we were asked to.
	m.ending.overtaken = true
	m.ending.reason += "; it was started again meanwhile"
	m.ending.awaited = [2]Process{}
	m.do(CloseLink{g.link})
	m.ending.guest = guest{}
	m.finishIfAlone()
}

// sendAway: the guest is one of the pair that has come too late to be told before.
func (m *Machine) sendAway() {
	p := m.ending.guest.process
	m.sayByeToGuest()
	if m.ending.initiator {
		m.await(p, false)
	}
}

func (m *Machine) sayByeToGuest() {
	if l := m.ending.guest.link; l != 0 {
		m.sayBye(l)
		m.do(CloseLink{l})
	}
	m.ending.guest = guest{}
}

// guestGone forgets a guest that has died; its link ends by itself.
func (m *Machine) guestGone(p Process) {
	if m.ending.guest.process == p && p.Known() {
		if l := m.ending.guest.link; l != 0 {
			m.do(CloseLink{l})
		}
		m.ending.guest = guest{}
	}
}

// greetedWhileEnding: a leave says goodbye to whoever comes; in a stop it depends on
// who that is, unless we know it. A stop that could not be stored cannot have been
// ended by a person.
func (m *Machine) greetedWhileEnding(l Link, p Process, answer bool) {
	if answer {
		return // the goodbye goes, or went, on this very link
	}
	if m.ending.kind == wire.Stop && m.ending.err == "" && (p != m.peer.process || !p.Known()) {
		m.receive(l, p)
		return
	}
	if m.ending.stored {
		m.sayBye(l)
	}
	m.do(CloseLink{l})
	if m.ending.kind == wire.Stop && m.ending.initiator {
		m.await(p, false)
	}
}
