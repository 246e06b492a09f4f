package protocol

import (
	"time"

	"github.com/pairguard/pairguard/internal/restart"
)

// revival is everything between a death and the next life.
type revival struct {
	budget   restart.Budget
	count    uint64
	noticed  time.Duration // when the absence began; never: there is none
	startAt  time.Duration // the budget allows the next start from here on
	spawning bool          // a Spawn has not reported back yet
	again    bool          // that Spawn answers a death
	spawned  Process       // what was started last under the peer's name, by whomever
	asked    uint64        // the newest survey asked for
	answered uint64        // the newest survey that came back
	awaited  bool          // a survey is waited for, to decide something
	from     uint64        // and it must be this one or a newer one
	obituary Notice        // of the process that died last, untold until the folder says what its end was
	failures int           // starts in a row that came to nothing
	speaker  bool          // processes of this name say HELLO: one did, or has taken the name
	goneWith uint64        // the generation that left
	minimum  time.Duration // the configured start timeout
	window   time.Duration // how long a start may take before it is reported
}

// oftenEnough: of starts that come to nothing, so many are told one by one.
const oftenEnough = 4

// slowestWindow bounds the doubling of the start window.
const slowestWindow = 10 * time.Minute

func newRevival(cfg Config) revival {
	return revival{
		budget: *restart.New(cfg.Restart, cfg.Random), noticed: never,
		minimum: cfg.StartTimeout, window: cfg.StartTimeout,
	}
}

// settled: a process has spoken, this long after we first knew of it. A slow
// starter is given three times as long the next time.
func (r *revival) settled(took time.Duration) {
	r.failures = 0
	r.window = max(r.minimum, min(3*took, slowestWindow))
}

// graves remembers who died last, so that a late word of one of them is not taken
// for a sign of life.
type graves struct {
	dead [16]uint64 // handles
	next int
}

func (g *graves) bury(p Process) {
	if p.Known() && !g.hold(p) {
		g.dead[g.next] = p.Handle
		g.next = (g.next + 1) % len(g.dead)
	}
}

func (g *graves) hold(p Process) bool {
	for _, h := range g.dead {
		if h != 0 && h == p.Handle {
			return true
		}
	}
	return false
}

func (m *Machine) died(e Died) {
	m.graves.bury(e.Process)
	if e.Process == m.revival.spawned {
		m.revival.spawned = Process{}
	}
	if m.phase == Ending {
		m.diedWhileEnding(e.Process)
		return
	}
	if e.Process != m.peer.process || !e.Process.Known() {
		return // an earlier one, or one that lost the race for the name
	}
	switch m.phase {
	case Starting, Up, Suspect:
		kind := PeerFailed
		if m.peer.spoke {
			kind = PeerDead
		}
		m.mourn(kind, e.Exit)
	case Fencing:
		m.tell(PeerFenced, e.Exit)
		m.mourn("", "")
	case Left:
		m.peer = counterpart{}
	case Unbegun, Seeking, Reviving, Waiting, Ending, Ended:
	}
}

// mourn: the peer is dead. Its obituary, of that kind, is held back: only the
// folder knows whether the death was announced, and who holds the name now.
func (m *Machine) mourn(obituary Kind, reason string) {
	if m.revival.noticed == never {
		m.revival.noticed = m.now
	}
	m.revival.obituary = Notice{Kind: obituary, PID: m.peer.process.PID, Generation: m.peer.generation, Reason: reason}
	m.revival.budget.Ran(m.now - m.peer.since)
	delay := m.revival.budget.Next()
	if m.phase == Fencing {
		// The time that the judging took counts as waited.
		delay = max(delay-m.silence.Silence(m.now), 0)
	}
	m.reviveAfter(delay)
}

func (m *Machine) reviveAfter(delay time.Duration) {
	m.dropLinks()
	m.peer = counterpart{}
	m.revival.startAt = m.now + delay
	if m.leaving.asked {
		m.revival.startAt = m.now
	}
	m.enter(Reviving, never)
	m.surveyForRevival()
}

func (m *Machine) surveyForRevival() {
	m.takeSurvey()
	m.revival.awaited, m.revival.from = true, m.revival.asked
}

func (m *Machine) takeSurvey() {
	m.revival.asked++
	m.do(TakeSurvey{m.revival.asked})
}

func (m *Machine) surveyed(e Surveyed) {
	if m.phase == Ending {
		m.surveyedWhileEnding(e)
		return
	}
	if e.Token <= m.revival.answered {
		return
	}
	m.noteSpawned(e.Survey)
	m.revival.answered, m.lookAt = e.Token, never
	if e.Survey.Err == "" {
		if e.Survey.Stopped {
			m.end(stopKind, e.Survey.StopReason, false)
			return
		}
		m.hold(e.Survey.HeldFor, e.Survey.HoldReason)
		m.revival.speaker = m.revival.speaker || e.Survey.Speaks
	} else if !m.revival.awaited {
		m.lookAt = m.now + resurvey // somebody asked us to look, and we have not seen it yet
	}
	if !m.revival.awaited || e.Token < m.revival.from {
		return
	}
	if m.graves.hold(e.Survey.Holder) || m.graves.hold(e.Survey.Recorded) {
		// It has died since the folder was read, and may have said goodbye first.
		m.surveyForRevival()
		return
	}
	m.revival.awaited = false
	switch m.phase {
	case Reviving:
		m.decide(e.Survey)
	case Starting:
		m.startChecked(e.Survey)
	case Left:
		m.leftChecked(e.Survey)
	}
}

// noteSpawned remembers what the folder says was started under the peer's name.
func (m *Machine) noteSpawned(s Survey) {
	if s.Err == "" && s.Recorded.Known() {
		m.revival.spawned = s.Recorded
	}
}

// left: the peer's life of that generation announced its end.
func (m *Machine) left(generation uint64) {
	m.revival.noticed, m.revival.goneWith = never, generation
	m.enter(Left, m.now+leftLook)
}

// leftChecked: a later life than the one that left has begun, and has not found us.
// It is looked for, or answered if it has ended already.
func (m *Machine) leftChecked(s Survey) {
	if s.Err != "" || s.PeerLeft || s.HolderUnseen || s.Generation == 0 || s.Generation == m.revival.goneWith {
		return
	}
	m.peer = counterpart{}
	m.revival.noticed = m.now
	m.revival.startAt = m.now + m.revival.budget.Next()
	m.enter(Reviving, never)
	m.decide(s)
}

// decide: the peer is proved dead and this is what the folder said after the
// proof. Only the last case starts anything.
func (m *Machine) decide(s Survey) {
	left := m.revival.obituary
	m.publish(s)
	switch {
	case s.Err != "":
		m.failed("the folder cannot be read: " + s.Err)
		m.enter(Waiting, m.now+resurvey)
	case s.Holder.Known():
		m.adoptHolder(s.Holder)
	case s.HolderUnseen:
		m.failed("its name is held by a process that cannot be seen from here (another PID namespace?)")
		m.enter(Waiting, m.now+resurvey)
	case s.PeerLeft:
		m.do(Emit{Notice{Kind: PeerLeft, PID: left.PID, Generation: left.Generation}})
		m.left(s.Generation)
	case s.Recorded.Known():
		m.adopt(s.Recorded)
	case m.held:
		m.enter(Waiting, m.heldUntil)
	case m.now < m.revival.startAt:
		m.enter(Waiting, m.revival.startAt)
	case m.revival.spawning:
		// The earlier Spawn reports back first.
	default:
		m.revival.spawning, m.revival.again = true, m.revival.noticed != never
		m.leaving.by = m.now + m.cfg.Grace // what is started now is waited for
		m.do(Spawn{})
	}
}

// publish tells of the death that the folder does not know to be announced. One
// that never spoke is worth a word only if nobody else has taken its name.
func (m *Machine) publish(s Survey) {
	o := m.revival.obituary
	m.revival.obituary = Notice{}
	switch {
	case s.Err == "" && s.PeerLeft:
	case o.Kind == PeerDead:
		m.do(Emit{o})
	case o.Kind == PeerFailed && s.Err == "" && !s.Holder.Known() && !s.HolderUnseen:
		m.failed("it ended before it said HELLO: " + o.Reason)
	}
}

// failed tells of the 1st, 2nd, 4th, 8th ... failure in a row, so that a peer that
// can never start does not fill the log.
func (m *Machine) failed(reason string) {
	if m.revival.failures++; powerOfTwo(m.revival.failures) {
		m.tell(PeerFailed, reason)
	}
}

func (m *Machine) started(p Process) {
	m.revival.spawning, m.revival.spawned = false, p
	switch {
	case m.phase == Ending:
		m.startedWhileEnding(p)
	case m.phase == Reviving || m.phase == Waiting:
		m.countRevival()
		m.peer = counterpart{process: p, since: m.now}
		m.enter(Starting, m.now+m.revival.window)
		m.links.redial = m.cfg.Heartbeat // it dials us; we look whether it is one that does not
		m.dialLater()
		if m.revival.failures < oftenEnough || powerOfTwo(m.revival.failures) {
			m.tell(PeerStarted, "")
		}
	case m.engaged() && m.peer.process == p:
		// It greeted us before we heard that it was started.
		m.countRevival()
		m.tell(PeerStarted, "")
	case m.engaged() && m.peer.plain:
		m.do(Terminate{p}) // no lock tells it that another one was first
	}
}

func (m *Machine) countRevival() {
	if m.revival.again {
		m.revival.count++
	}
}

func (m *Machine) startFailed(reason string) {
	m.revival.spawning = false
	m.leaving.tried = m.leaving.asked
	switch m.phase {
	case Ending:
		m.finishIfAlone()
	case Reviving:
		m.failed("it cannot be started: " + reason)
		m.revival.startAt = m.now + max(m.revival.budget.Next(), failedStart)
		m.enter(Waiting, m.revival.startAt)
	}
}

// startOverdue: a started process has not spoken for the whole window.
func (m *Machine) startOverdue() {
	if !m.peer.reported {
		m.peer.reported = true
		m.tell(PeerSilent, "it never said HELLO: until it does, it is guarded against death only")
	}
	if !m.held { // nothing is decided now, so this was no expiry
		m.revival.window = min(2*m.revival.window, slowestWindow)
	}
	m.phaseAt = m.now + m.revival.window
	switch {
	case m.held:
	case m.revival.speaker:
		m.surveyForRevival() // does it hold its name?
	default:
		m.takeSurvey() // another one of its name may have shown since that they say HELLO
	}
}

// startChecked: the start of a program that is known to say HELLO is overdue. One
// that holds its name is left alone; one that has not even come that far is
// judged, and the next start gets twice the time.
func (m *Machine) startChecked(s Survey) {
	switch {
	case s.Err != "":
		// Nothing is known: the same window ends again soon.
		m.revival.window /= 2
		m.phaseAt = m.now + m.cfg.Heartbeat
	case m.held, s.HolderUnseen, s.Holder == m.peer.process:
	case s.Holder.Known():
		m.dropLinks()
		m.adoptHolder(s.Holder)
	case s.PeerLeft:
		// It took its name, gave it up with a goodbye, and goes on with its own work.
		m.tell(PeerLeft, "")
		m.dropLinks()
		m.peer.left, m.peer.spoke = true, false
		m.left(s.Generation)
	default:
		m.silence.Expire(m.now)
		m.suspected("it was started and has not taken its name")
	}
}
