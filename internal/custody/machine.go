// Package custody decides who of the two supervisors acts, who holds a copy of everything, and what of it has been acknowledged. It
// is a pure state machine: the same events at the same times give the same actions.
//
// The invariants it keeps:
//   - Act comes once, while we hold the lock of the active one, and after no process of a dead active one can turn into a program
//     any more, or after that was waited for in vain and is said.
//   - A copy counts as complete only if the active one died while it was linked to us, or lost its link to us and died before it could
//     go on without us: what was not acknowledged was not released.
//   - A ticket is released when the standby has what was submitted, or when the standby is proved dead; a link that ended proves neither.
package custody

import (
	"math"
	"slices"
	"time"
)

// Times that are not settings.
const (
	pauseFirst     = 10 * time.Millisecond // between tries to find out who is active
	pauseMax       = time.Second
	juniorPatience = 10 * time.Second      // how long one that began second leaves the claim to the other
	deathPatience  = time.Second           // after the link's end, how long the active one may take to be proved dead before we take it to be alive
	birthPatience  = 2 * time.Second       // how long all programs wait for one that hangs between fork and exec
	cutPatience    = 3 * time.Second       // how long a standby without a link may take to come back; longer than deathPatience and a pause
	lateSlack      = 50 * time.Millisecond // a Tick that comes later than this was late
	never          = time.Duration(math.MaxInt64)
)

// Window is how many Items may be on their way to the standby.
const Window = 64

// stage is what is being done at present.
type stage uint8

const (
	unbegun stage = iota
	claiming
	dialing
	pausing  // until at; then claim or dial again
	linked   // we are the standby
	cut      // the link has ended, the active one may live
	draining // the active one is dead, what it sent is not read to the end
	settling // AwaitBirths
	acting
)

type births uint8

const (
	birthsOpen births = iota
	birthsSettled
	birthsGivenUp
)

// Machine is one supervisor. It is not safe for concurrent use: one goroutine owns it.
type Machine struct {
	stage   stage
	now     time.Duration
	at      time.Duration // when this stage's patience ends; never: it has none
	pause   time.Duration
	retry   Action        // what is tried when pausing ends
	mayAt   time.Duration // from when on we may claim
	births  births
	holding bool // the lock of the active one
	ended   bool // the active one at the other end is dead
	copy    ledger
	giving  giving
	out     []Action
}

// New returns a machine that has not begun.
func New() *Machine { return &Machine{at: never, pause: pauseFirst} }

// Role is "active", "standby" while linked to an active one or taking over from it, and "starting" otherwise.
func (m *Machine) Role() string {
	switch m.stage {
	case acting:
		return "active"
	case linked, cut, draining:
		return "standby"
	case settling:
		if !m.holding {
			return "standby"
		}
	}
	return "starting"
}

// Guarded tells whether we are active and the standby has acknowledged everything.
func (m *Machine) Guarded() bool { return m.WhyNotGuarded() == "" }

// WhyNotGuarded says in words what Guarded lacks; empty: nothing.
func (m *Machine) WhyNotGuarded() string {
	if m.stage != acting {
		return "this supervisor is not the active one"
	}
	return m.giving.lack()
}

// Deadline is when Tick is due; false: never.
func (m *Machine) Deadline() (time.Duration, bool) {
	at := m.at
	if m.stage == acting {
		at = m.giving.fenceAt
	}
	return at, at < never
}

// Step takes note of an event and says what is to be done. now never goes back.
func (m *Machine) Step(now time.Duration, e Event) []Action {
	m.now, m.out = now, nil
	if m.stage == acting {
		m.out = m.giving.step(now, e)
		return m.out
	}
	switch e := e.(type) {
	case Begin:
		m.begin(e.Junior)
	case Senior:
		m.mayAt = now
		if m.stage == pausing {
			m.claim()
		}
	case Claimed:
		m.claimed()
	case Taken:
		if m.stage == claiming {
			m.dial()
		}
	case ClaimFailed:
		if m.stage == claiming {
			m.rest(Claim{})
		}
	case Linked:
		m.link()
	case LinkEnded:
		m.linkEnded()
	case ActiveEnded:
		m.activeEnded()
	case BirthsSettled:
		if m.stage == settling {
			m.births = birthsSettled
			m.settled()
		}
	case Given:
		m.given(e)
	case SnapshotDone:
		if m.receives(e.Seq) {
			m.copy.whole = true
			m.ack(e.Seq)
		}
	case Submit:
		if e.Ticket != 0 {
			m.do(Release{Ticket: e.Ticket})
		}
	}
	m.due()
	return m.out
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) enter(s stage, patience time.Duration) {
	m.stage, m.at = s, never
	if patience > 0 {
		m.at = m.now + patience
	}
}

func (m *Machine) begin(junior bool) {
	if m.stage != unbegun {
		return
	}
	m.mayAt = m.now
	if junior {
		m.mayAt += juniorPatience
		m.dial()
		return
	}
	m.claim()
}

func (m *Machine) claim() {
	m.enter(claiming, 0)
	m.do(Claim{})
}

// dial begins anew: whatever we hold may be out of date from now on.
func (m *Machine) dial() {
	m.copy, m.births, m.ended = ledger{}, birthsOpen, false
	m.enter(dialing, 0)
	m.do(Dial{})
}

// rest waits before the next try, each time longer.
func (m *Machine) rest(then Action) {
	m.enter(pausing, m.pause)
	m.retry = then
	m.pause = min(2*m.pause, pauseMax)
}

func (m *Machine) due() {
	if m.at > m.now {
		return
	}
	if m.stage == cut && m.now-m.at > lateSlack { // it was we who stood still: what happened meanwhile is yet to be told
		m.at = m.now + lateSlack
		return
	}
	switch m.stage {
	case pausing:
		if _, again := m.retry.(Claim); again || m.now >= m.mayAt {
			m.claim()
			return
		}
		m.dial()
	case cut:
		m.dial()
	case settling:
		m.births = birthsGivenUp
		m.settled()
	}
}

// claimed: a lock that was free although we know nothing of the death of its holder still needs the births settled.
func (m *Machine) claimed() {
	if m.stage != claiming {
		return
	}
	m.holding = true
	if m.births == birthsOpen {
		m.settle()
		return
	}
	m.act()
}

func (m *Machine) settle() {
	m.enter(settling, birthPatience)
	m.do(AwaitBirths{})
}

func (m *Machine) settled() {
	if m.holding {
		m.act()
		return
	}
	m.claim()
}

func (m *Machine) act() {
	items := m.copy.items()
	m.do(Act{Copy: items, Complete: m.copy.whole, Settled: m.births == birthsSettled})
	m.enter(acting, 0)
	m.giving = newGiving(items, !m.copy.whole)
	m.copy = ledger{}
}

func (m *Machine) link() {
	if m.stage != dialing {
		return
	}
	m.pause = pauseFirst
	m.enter(linked, 0)
	if m.ended {
		m.enter(draining, 0)
	}
}

func (m *Machine) linkEnded() {
	switch m.stage {
	case dialing:
		if m.ended {
			m.settle()
			return
		}
		m.rest(Dial{})
	case linked:
		m.enter(cut, deathPatience)
	case draining:
		m.settle()
	}
}

func (m *Machine) activeEnded() {
	if m.stage != dialing && m.stage != linked && m.stage != cut {
		return
	}
	m.ended, m.mayAt = true, m.now
	switch m.stage {
	case linked:
		m.enter(draining, 0)
	case cut:
		m.settle()
	}
}

// receives checks that nothing was lost on the link. If something was, all of it is fetched again; from a dead one nothing more is
// taken: what came later was not acknowledged, so nobody relied on it.
func (m *Machine) receives(seq uint64) bool {
	if m.stage != linked && m.stage != draining || m.copy.torn {
		return false
	}
	if m.copy.last != 0 && seq != m.copy.last+1 {
		m.copy.torn = true
		if m.stage == linked {
			m.dial()
		}
		return false
	}
	m.copy.last = seq
	return true
}

func (m *Machine) given(e Given) {
	if m.receives(e.Seq) {
		m.copy.put(e.Item)
		m.ack(e.Seq)
	}
}

func (m *Machine) ack(seq uint64) {
	if m.stage == linked { // a dead one needs none
		m.do(Ack{seq})
	}
}

// ledger is the standby's copy, in the order in which keys were first given.
type ledger struct {
	last  uint64 // Seq; 0: nothing came yet
	whole bool   // the snapshot is done
	torn  bool   // something was lost on the way; nothing after it counts
	list  []Item
	index map[string]int
}

// put remembers also what is gone, until the snapshot is done: the disk may not know it.
func (l *ledger) put(it Item) {
	if l.index == nil {
		l.index = map[string]int{}
	}
	if i, known := l.index[it.Key]; known {
		l.list[i] = it
		return
	}
	l.index[it.Key] = len(l.list)
	l.list = append(l.list, it)
}

func (l *ledger) items() []Item {
	if l.whole {
		return slices.DeleteFunc(l.list, func(it Item) bool { return it.Gone })
	}
	return l.list
}
