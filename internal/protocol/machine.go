// Package protocol decides everything that one member of a pair does about the
// other. It is a pure state machine: the same events at the same times give the
// same actions. Bytes, process ends, timers and calls come in as events; what is
// to be done goes out as actions.
//
// The invariants it keeps:
//   - Spawn comes only after the peer's process is proved dead, its name lock is
//     seen free, and the goodbyes have been read after that proof.
//   - Kill goes only to a process judged hung, or that has outlived its grace in
//     a stop.
//   - After a goodbye nothing is started; a death noticed before our own leave is
//     answered before we go.
package protocol

import (
	"fmt"
	"time"

	"github.com/pairguard/pairguard/internal/detector"
	"github.com/pairguard/pairguard/internal/restart"
	"github.com/pairguard/pairguard/internal/wire"
)

// Times that are not settings. Each is short against the defaults and long
// against a scheduler's tick.
const (
	confirmation     = 200 * time.Millisecond // how long a suspect is probed before the last call
	excusedAttention = 100 * time.Millisecond // how often one that is excused, or that nothing is known of
	attention        = 50 * time.Millisecond  // how often a suspect is looked at, so that our own lateness shows; also the last call
	lookPatience     = time.Second            // a look that takes longer than this has seen nothing
	dumpPatience     = time.Second            // how long a hung process may take to say what it was doing
	lateSlack        = 20 * time.Millisecond  // a timer that comes later than this was late
	redialFirst      = 10 * time.Millisecond  // first delay between dials while the peer lives
	leftLook         = 2 * time.Second        // how often it is looked whether a peer that left has begun anew
	resurvey         = 200 * time.Millisecond // how often an unclear folder or lock is read again
	failedStart      = 100 * time.Millisecond // shortest delay after a start that failed
	fenceReminder    = 5 * time.Second        // how long a killed process may take before we say so
	plainHeartbeat   = 2 * time.Second        // what a plain peer sends at
	plainTimeout     = 5 * time.Second        // so this is the earliest suspicion of it (protocol.md §7)
)

// Config is what the machine needs to know. Every duration is set.
type Config struct {
	Self, Peer     string
	PID            int    // our own, for HELLO
	Generation     uint64 // our own, for HELLO
	Heartbeat      time.Duration
	Timeout        time.Duration
	StartTimeout   time.Duration
	Grace          time.Duration
	UnsureLimit    time.Duration // silence after which one is judged that cannot be looked at
	StarveLimit    time.Duration // silence after which a starved one is judged all the same; 0: never
	Dump           bool          // a hung process is asked what it was doing before it is killed
	Patience       time.Duration // how long a peer is looked for before it is started the first time
	Restart        restart.Policy
	PlainPermitted bool
	// Random gives numbers in [0, 1) for jitter.
	Random func() float64
}

// counterpart is the process that we take for the peer.
type counterpart struct {
	process    Process
	generation uint64
	heartbeat  time.Duration // the pace that its HELLO named
	spoke      bool          // it has given a sign of life
	plain      bool          // without HELLO
	holder     bool          // it was seen to hold the name, so it is a member
	listens    bool          // a dial has reached it
	reported   bool          // PeerSilent was said of it
	left       bool          // it announced its end; it may live on, and is nobody's business
	since      time.Duration
}

// Machine is one member's view of its peer. It is not safe for concurrent use:
// one goroutine owns it. A copy of a Machine between two Steps is independent of it.
type Machine struct {
	cfg    Config
	phase  Phase
	now    time.Duration
	expect time.Duration // the deadline that the driver was given; past it we are late
	late   time.Duration // by how much the current Step came after expect; 0: on time
	out    []Action

	peer    counterpart
	graves  graves
	links   links
	silence detector.Detector
	suspect suspicion
	dumping bool   // the process that is fenced has been asked for its dump, not killed yet
	reason  string // why the last heartbeat was not a sign of life

	lookAt    time.Duration // when the folder is read again that could not be read
	phaseAt   time.Duration // when the phase's own patience ends; never: none
	revival   revival
	held      bool
	heldUntil time.Duration
	leaving   leaving
	ending    ending
}

const never = time.Duration(1<<63 - 1)

// New returns a machine that waits for Begun.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg, expect: never, phaseAt: never, heldUntil: never, lookAt: never}
	m.silence = detector.New(cfg.Timeout, confirmation)
	m.revival = newRevival(cfg)
	m.links.beatAt, m.links.dialAt, m.links.redial = never, never, redialFirst
	return m
}

// Step takes one event at the time now, which never goes back and stands still
// while the machine is suspended, and returns what is to be done, in order.
func (m *Machine) Step(now time.Duration, event Event) []Action {
	m.now = max(m.now, now)
	m.out = nil
	if m.phase != Ended {
		m.noticeLateness()
		m.handle(event)
		m.runTimers()
		m.leaveWhenDone()
	}
	m.expect = m.Deadline()
	return m.out
}

// Deadline is when Ticked is due next; a far future means never.
func (m *Machine) Deadline() time.Duration {
	if m.phase == Ended || m.phase == Unbegun {
		return never
	}
	return min(m.phaseAt, m.links.beatAt, m.links.dialAt, m.heldUntil, m.lookAt, m.judgeAt(), m.leaveBy())
}

// Phase is where the machine stands.
func (m *Machine) Phase() Phase { return m.phase }

// Status is the machine's part of what `pairguard status` shows.
type Status struct {
	Phase      Phase
	Peer       Process
	Generation uint64 // of the peer
	Plain      bool
	GuardsHang bool // its hanging would be noticed, not only its death
	Revived    uint64
	HeldFor    time.Duration // 0: not held
}

// Status reports at the time of the last Step.
func (m *Machine) Status() Status {
	s := Status{
		Phase: m.phase, Peer: m.peer.process, Generation: m.peer.generation,
		Plain: m.peer.plain, GuardsHang: m.peer.spoke && m.audible(), Revived: m.revival.count,
	}
	if m.held {
		s.HeldFor = max(m.heldUntil-m.now, 1)
	}
	return s
}

func (m *Machine) handle(event Event) {
	if begun, ok := event.(Begun); ok && m.phase == Unbegun {
		m.begun(begun)
		return
	}
	if m.phase == Unbegun {
		return // the driver asks nothing of us before the name is ours
	}
	switch e := event.(type) {
	case Begun, Ticked:
	case Dialed:
		m.dialed(e)
	case DialFailed:
		m.dialFailed(e)
	case Greeted:
		m.greeted(e)
	case PlainHeard:
		m.plainHeard(e)
	case BeatHeard:
		m.beatHeard(e)
	case ByeHeard:
		m.byeHeard(e)
	case RefusedHeard:
		m.refusedHeard(e)
	case LinkLost:
		m.linkLost(e.Link)
	case Examined:
		m.examined(e)
	case Died:
		m.died(e)
	case Started:
		m.started(e.Process)
	case StartFailed:
		m.startFailed(e.Reason)
	case Surveyed:
		m.surveyed(e)
	case LookAsked:
		m.takeSurvey()
	case GoodbyeStored:
		m.goodbyeStored(e)
	case LeaveAsked:
		m.leave(e.Reason)
	case StopAsked:
		m.end(wire.Stop, e.Reason, true)
	}
}

func (m *Machine) begun(e Begun) {
	if e.Survey.Stopped {
		// A start by a person has ended every earlier stop; this one came after it.
		m.end(wire.Stop, e.Survey.StopReason, false)
		return
	}
	m.noteSpawned(e.Survey)
	m.hold(e.Survey.HeldFor, e.Survey.HoldReason)
	m.revival.speaker = e.Survey.Speaks
	switch s := e.Survey; {
	case s.Holder.Known():
		m.adoptHolder(s.Holder)
	case s.PeerLeft:
		m.tell(PeerLeft, "it had left before we began: start it to have a pair again")
		m.left(s.Generation)
	case s.Recorded.Known():
		m.adopt(s.Recorded)
	default:
		m.enter(Seeking, m.now+m.cfg.Patience)
		m.dialNow()
	}
}

// runTimers does what is due at m.now.
func (m *Machine) runTimers() {
	if m.held && m.now >= m.heldUntil {
		m.hold(0, "")
	}
	if m.now >= m.lookAt {
		m.lookAt = never
		m.takeSurvey()
	}
	if m.now >= m.judgeAt() {
		m.judge()
	}
	if m.now >= m.phaseAt {
		m.phaseAt = never
		m.phaseOver()
	}
	if m.now >= m.links.beatAt {
		m.beat()
	}
	if m.now >= m.links.dialAt {
		m.dial()
	}
}

// phaseOver: the patience of the current phase has ended.
func (m *Machine) phaseOver() {
	switch m.phase {
	case Seeking:
		m.reviveAfter(0) // a first start is no revival: it costs nothing of the budget
	case Starting:
		m.startOverdue()
	case Fencing:
		m.fenceOverdue()
	case Reviving:
		m.surveyForRevival()
	case Waiting:
		m.enter(Reviving, never)
		m.surveyForRevival()
	case Ending:
		m.graceOver()
	case Left:
		m.phaseAt = m.now + leftLook
		m.surveyForRevival()
	case Unbegun, Up, Suspect, Ended:
	}
}

// enter is the only writer of the phase.
func (m *Machine) enter(next Phase, until time.Duration) {
	if next != m.phase && !m.mayEnter(next) {
		panic(fmt.Sprintf("protocol: %v cannot become %v", m.phase, next))
	}
	if next != m.phase {
		m.revival.awaited = false // what was asked for in the old phase does not decide in the new one
	}
	m.phase, m.phaseAt = next, until
}

func (m *Machine) mayEnter(next Phase) bool {
	for _, p := range legal[m.phase] {
		if p == next {
			return true
		}
	}
	return false
}

// adopt takes a process for the peer, which has still to speak.
func (m *Machine) adopt(p Process) {
	m.publish(Survey{Holder: p})
	m.peer = counterpart{process: p, since: m.now}
	m.revival.awaited = false
	m.reason = ""
	m.enter(Starting, m.now+m.revival.window)
	m.links.redial = redialFirst
	m.dialNow()
}

// adoptHolder: it holds the name.
func (m *Machine) adoptHolder(p Process) {
	m.adopt(p)
	m.peer.holder = true
}

// engaged: a process is taken for the peer.
func (m *Machine) engaged() bool {
	switch m.phase {
	case Starting, Up, Suspect, Fencing:
		return true
	}
	return false
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) tell(kind Kind, reason string) {
	m.do(Emit{Notice{Kind: kind, PID: m.peer.process.PID, Generation: m.peer.generation, Reason: reason}})
}
