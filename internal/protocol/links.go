package protocol

import (
	"fmt"
	"time"

	"github.com/pairguard/pairguard/internal/wire"
)

// links are the two one-way connections: the peer speaks on in, we speak on out.
type links struct {
	in, out  Link
	next     Link // inbound too: the peer's probe, or what will take the place of in
	probe    Link
	outOpen  bool // our HELLO was answered, or the listener is a plain peer
	dialing  bool
	probing  bool
	beatAt   time.Duration
	dialAt   time.Duration
	redial   time.Duration
	refusals int
}

// audible: a hang of the peer would reach us as silence.
func (m *Machine) audible() bool { return !m.peer.plain || m.links.in != 0 }

// wantsOut: somebody may be there whom we could talk to.
func (m *Machine) wantsOut() bool {
	switch m.phase {
	case Seeking, Starting, Up, Suspect:
		return m.links.out == 0
	}
	return false
}

func (m *Machine) dialNow() {
	if m.wantsOut() && !m.links.dialing {
		m.links.dialAt = m.now
	}
}

func (m *Machine) dial() {
	m.links.dialAt = never
	if m.wantsOut() && !m.links.dialing {
		m.links.dialing = true
		m.do(Dial{})
	}
}

// dialLater spaces the dials: quickly while a peer is there, at the pace of the
// heartbeat at last.
func (m *Machine) dialLater() {
	if !m.wantsOut() {
		return
	}
	m.links.dialAt = m.now + m.links.redial
	m.links.redial = min(m.links.redial*2, m.cfg.Heartbeat)
}

func (m *Machine) dialed(e Dialed) {
	if e.Probe {
		m.probeDialed(e)
		return
	}
	m.links.dialing = false
	if !m.wantsOut() {
		m.do(CloseLink{e.Link})
		return
	}
	if !m.fits(e.Process) || m.graves.hold(e.Process) {
		m.do(CloseLink{e.Link})
		m.dialLater()
		return
	}
	if m.phase == Seeking {
		m.adopt(e.Process)
	} else if e.Process.Known() {
		m.recognise(e.Process)
	}
	m.links.dialAt = never
	m.links.out, m.links.outOpen = e.Link, false
	m.do(Send{e.Link, m.hello()})
	m.reached()
}

// fits: the kernel's word on the listener agrees with whom we take for the peer.
// As long as the peer has not spoken, a different listener is the better
// candidate: what we started was a launcher.
func (m *Machine) fits(p Process) bool {
	known := m.peer.process
	return !known.Known() || !p.Known() || known == p || !m.peer.spoke
}

// reached: the peer listens, so it owes an answer within the timeout.
func (m *Machine) reached() {
	if m.phase != Starting || m.peer.listens {
		return
	}
	m.peer.listens = true
	m.setTimeout()
	m.silence.Restart(m.now)
}

func (m *Machine) dialFailed(e DialFailed) {
	if e.Probe {
		m.links.probing = false
		return
	}
	m.links.dialing = false
	m.dialLater()
}

func (m *Machine) hello() wire.Hello {
	return wire.Hello{
		Version: wire.Version, Self: m.cfg.Self, Peer: m.cfg.Peer, PID: m.cfg.PID,
		Generation: m.cfg.Generation, Heartbeat: m.cfg.Heartbeat, Healthy: true,
	}
}

func (m *Machine) greeted(e Greeted) {
	answer := e.Link != 0 && (e.Link == m.links.out || e.Link == m.links.probe)
	if answer && !e.Process.Known() {
		e.Process = m.peer.process // the kernel does not say who listens
	}
	if why := m.unacceptable(e.Hello); why != "" {
		if answer || m.engaged() && m.peer.process == e.Process {
			m.replied()
		}
		m.refuse(e.Link, why)
		return
	}
	switch {
	case m.phase == Ending:
		m.greetedWhileEnding(e.Link, e.Process, answer)
		return
	case m.graves.hold(e.Process) || m.phase == Fencing && e.Process == m.peer.process:
		m.drop(e.Link) // it is dead, or killed; what it said before is late
		return
	case !answer:
		m.do(Send{e.Link, m.hello()})
	}
	m.recognise(e.Process)
	m.peer.generation, m.peer.heartbeat = e.Hello.Generation, e.Hello.Heartbeat
	m.peer.plain = false
	m.setTimeout()
	if !answer || e.Link == m.links.out || e.Link == m.links.probe {
		m.place(e.Link, answer)
	}
	m.reached()
	if e.Hello.Healthy {
		m.sign(m.now)
	} else if m.reason == "" {
		m.reason = "it says that it is not healthy"
	}
	m.dialNow()
}

// drop closes one link.
func (m *Machine) drop(l Link) {
	m.do(CloseLink{l})
	m.linkLost(l)
}

// unacceptable says why a HELLO cannot be the peer's, or nothing.
func (m *Machine) unacceptable(h wire.Hello) string {
	switch {
	case h.Version != wire.Version:
		return fmt.Sprintf("it speaks version %d of the protocol, this is version %d: use the same release for both", h.Version, wire.Version)
	case h.Self != m.cfg.Peer || h.Peer != m.cfg.Self:
		return fmt.Sprintf("%s guards %s, not %s: name both members of the pair alike on both sides", m.cfg.Self, m.cfg.Peer, h.Self)
	}
	return ""
}

func (m *Machine) refuse(l Link, why string) {
	m.do(Send{l, wire.Refused{Reason: why}})
	m.do(CloseLink{l})
	if l == m.links.out {
		m.links.redial = m.cfg.Heartbeat
	}
	m.linkLost(l)
	if m.links.refusals++; powerOfTwo(m.links.refusals) {
		m.tell(PeerFailed, "refused a link: "+why)
	}
}

// recognise makes the speaker the peer. The driver has seen that it holds the
// name, so a different process that was the peer before has lost it by dying.
func (m *Machine) recognise(p Process) {
	if m.engaged() && m.peer.process == p {
		return
	}
	m.bereaved()
	m.dropLinks()
	m.adopt(p)
}

// bereaved: another process speaks for the name, so the one before it is dead.
func (m *Machine) bereaved() {
	kind := PeerDead
	switch {
	case m.phase == Fencing:
		kind = PeerFenced
	case !m.engaged() || !m.peer.process.Known() || !m.peer.spoke:
		return
	}
	m.tell(kind, "another process holds its name now")
	if m.revival.noticed == never {
		m.revival.noticed = m.now
	}
}

// place makes the link the one that it turned out to be.
func (m *Machine) place(l Link, answer bool) {
	switch {
	case l == m.links.probe:
		m.do(CloseLink{l})
		m.links.probe, m.links.probing = 0, false
		m.suspect.probeAt = m.now + m.cfg.Heartbeat/2 // asking at once would only keep it busy
	case answer:
		m.links.outOpen = true
		m.links.beatAt = m.now
		m.links.redial = redialFirst
	default:
		m.placeInbound(l)
	}
}

// placeInbound: a second link of the peer is its probe, or its new link whose
// predecessor's end has not reached us yet. The first heartbeat tells which.
func (m *Machine) placeInbound(l Link) {
	switch old := m.links.next; {
	case l == m.links.in || l == old:
	case m.links.in == 0:
		m.links.in = l
	default:
		if old != 0 {
			m.do(CloseLink{old})
		}
		m.links.next = l
	}
}

// promote: the peer speaks on its new link, so the one before it is over.
func (m *Machine) promote() {
	m.do(CloseLink{m.links.in})
	m.links.in, m.links.next = m.links.next, 0
}

func (m *Machine) plainHeard(e PlainHeard) {
	switch {
	case !m.cfg.PlainPermitted:
		m.refuse(e.Link, "it does not say HELLO, which is permitted at qt: names alone")
		return
	case m.phase == Ending || m.phase == Fencing || m.graves.hold(e.Process):
		if e.Link != m.links.in {
			m.do(CloseLink{e.Link})
		}
		return
	case m.taken(e.Process):
		m.refuse(e.Link, "another process is the peer, or this one has said HELLO before")
		return
	}
	if e.Link != m.links.in {
		m.recognise(e.Process)
		if old := m.links.in; old != 0 {
			m.do(CloseLink{old})
		}
		m.links.in = e.Link
	}
	m.plain()
	m.sign(m.now)
	m.dialNow()
}

// taken: the place of the peer is taken, so that this process cannot have it by
// saying something that is not HELLO. No lock speaks for it.
func (m *Machine) taken(p Process) bool {
	if !m.engaged() || !m.peer.spoke || !m.peer.process.Known() {
		return false
	}
	return m.peer.process != p || !m.peer.plain
}

// plain: the peer does not speak the protocol, so any byte is a sign of life and
// it is given the time that such peers need (protocol.md §7).
func (m *Machine) plain() {
	if m.peer.plain {
		return
	}
	m.peer.plain = true
	m.setTimeout()
	if m.links.out != 0 && !m.links.outOpen {
		m.links.outOpen = true
		m.links.beatAt = m.now
	}
}

func (m *Machine) beatHeard(e BeatHeard) {
	if e.Link != 0 && e.Link == m.links.next {
		m.promote()
	}
	if e.Link == 0 || e.Link != m.links.in {
		return
	}
	m.beatAlong()
	if !e.Beat.Healthy {
		m.reason = "it says that it is not healthy: " + e.Beat.Reason
		return
	}
	m.sign(m.now - e.Beat.Age)
}

func (m *Machine) byeHeard(e ByeHeard) {
	switch m.phase {
	case Ending, Fencing, Reviving, Waiting, Left:
		return // we go ourselves, or the folder will say it after the proof
	}
	switch e.Link {
	case 0:
		return
	case m.links.in, m.links.next, m.links.out, m.links.probe:
	default:
		return
	}
	if e.Bye.Kind == wire.Stop {
		m.end(wire.Stop, e.Bye.Reason, false)
		return
	}
	m.tell(PeerLeft, e.Bye.Reason)
	m.dropLinks()
	m.peer.left, m.peer.spoke = true, false
	m.left(m.peer.generation)
}

func (m *Machine) refusedHeard(e RefusedHeard) {
	if e.Link == 0 || e.Link != m.links.out && e.Link != m.links.probe {
		return
	}
	m.do(CloseLink{e.Link})
	m.forget(e.Link)
	m.replied()
	m.links.redial = m.cfg.Heartbeat
	m.dialLater()
	if m.links.refusals++; powerOfTwo(m.links.refusals) {
		m.tell(PeerFailed, "it refuses our link: "+e.Reason)
	}
}

func (m *Machine) linkLost(l Link) {
	if l == 0 {
		return
	}
	out, ours := l == m.links.out, l == m.links.out || l == m.links.in || l == m.links.next
	m.forget(l)
	if out {
		m.dialLater()
	}
	if ours && m.engaged() && m.phase != Fencing && !m.peer.process.Known() && m.links.in == 0 && m.links.out == 0 {
		// No handle to prove its death with: the lock will have to say it.
		m.mourn(PeerDead, "its links ended and its process cannot be seen")
	}
}

func (m *Machine) forget(l Link) {
	if l == m.ending.guest.link {
		m.ending.guest.link = 0
	}
	switch l {
	case m.links.in:
		m.links.in, m.links.next = m.links.next, 0
	case m.links.next:
		m.links.next = 0
	case m.links.out:
		m.links.out, m.links.outOpen = 0, false
		m.links.beatAt = never
	case m.links.probe:
		m.links.probe, m.links.probing = 0, false
	}
}

func (m *Machine) dropLinks() {
	for _, l := range [...]Link{m.links.next, m.links.in, m.links.out, m.links.probe} {
		if l != 0 {
			m.do(CloseLink{l})
			m.forget(l)
		}
	}
	m.links.dialAt = never
}

// beat sends the heartbeat and plans the next one; a beat that came late does not
// make the next one early.
func (m *Machine) beat() {
	m.links.beatAt = never
	if m.links.out == 0 || !m.links.outOpen {
		return
	}
	m.do(SendBeat{m.links.out})
	m.links.beatAt = m.now + m.cfg.Heartbeat
	if m.peer.plain {
		m.links.beatAt = m.now + min(m.cfg.Heartbeat, plainHeartbeat)
	}
}

// beatAlong: we are awake anyway, so a heartbeat that is due soon goes out now. The
// two heartbeats of a pair fall into step that way, and an idle pair wakes less.
func (m *Machine) beatAlong() {
	if m.links.beatAt != never && m.links.beatAt-m.now <= m.cfg.Heartbeat/2 {
		m.links.beatAt = m.now
	}
}

func (m *Machine) sayBye(l Link) {
	m.do(Send{l, wire.Bye{Kind: m.ending.kind, Reason: m.ending.reason}})
}

func powerOfTwo(n int) bool { return n > 0 && n&(n-1) == 0 }
