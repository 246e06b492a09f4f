// Package lifecycle decides everything about one program: when it is started, signaled, killed, and started again. It is a pure
// state machine: the same events at the same times give the same actions.
//
// The invariants it keeps:
//   - Fork comes only after IntentKept of the same generation, and each generation is forked once at most.
//   - A generation is begun only when the tree of the one before is proved gone, or never was.
//   - What a person asked for last is what happens: a stopped program is not started, and a start that a person asks for waits neither for
//     backoff nor for a hold.
//   - Nothing is signaled or killed that no person asked to end, but the rest of a tree whose main process is dead.
//   - Record is all that a successor needs: a machine that is restored from it after any Step ends up where this one would have.
//
// What the driver owes it: a Record that differs after a Step is on its way to whoever takes over, in order, before the actions of
// that Step are done.
package lifecycle

import (
	"fmt"
	"math"
	"time"

	"github.com/pairguard/pairguard/internal/restart"
)

// Times that are not settings.
const (
	failedStart = 100 * time.Millisecond // shortest wait after a start that failed
	reminder    = 5 * time.Second        // how long what was killed may take to go before we say so, and kill again
	farAway     = math.MaxInt64 / 4      // no wait is longer, so that it can be added to a time
)

// stage is how far a birth has come. It is not part of the Record: to a successor every birth is one to resolve.
type stage uint8

const (
	noBirth stage = iota
	keeping
	forking
	resolving
)

// Machine is one program. It is not safe for concurrent use: one goroutine owns it.
type Machine struct {
	policy Policy
	random func() float64
	budget *restart.Budget
	rec    Record
	birth  stage
	now    time.Duration
	out    []Action
}

// New returns the machine of a program that never ran, and that nobody wants to run yet. random gives numbers in [0, 1) for jitter;
// nil: none.
func New(p Policy, random func() float64) *Machine {
	return Restore(p, Record{State: Stopped, Phase: Idle, Wanted: WantStopped}, random)
}

// Restore returns a machine that goes on where another one stood; Begin tells what is to be done. r has passed Validate.
func Restore(p Policy, r Record, random func() float64) *Machine {
	m := &Machine{random: random, rec: r}
	m.setPolicy(p)
	if r.Phase == Birth {
		m.birth = resolving
	}
	return m
}

func (m *Machine) setPolicy(p Policy) {
	p.Grace = min(max(p.Grace, 0), farAway)
	m.policy = p
	m.budget = restart.Restore(restart.Policy{Backoff: p.Backoff, Max: p.BackoffMax, Stable: p.Stable}, m.random, m.rec.Starts)
}

// Record is what a successor needs to know now.
func (m *Machine) Record() Record { return m.rec }

// Step takes note of an event and says what is to be done. now never goes back.
func (m *Machine) Step(now time.Duration, e Event) []Action {
	m.now, m.out = now, nil
	switch e := e.(type) {
	case Start:
		m.start()
	case Stop:
		m.stop(e.Now)
	case Restart:
		m.restart(e.Gen)
	case Hold:
		m.hold(e.For)
	case Unhold:
		m.unhold("a person ended the hold")
	case Redefine:
		m.redefine(e)
	case Begin:
		m.begin(e)
	case IntentKept:
		if m.is(Birth, e.Gen) && m.birth == keeping {
			m.birth = forking
			m.do(Fork{m.rec.Generation})
		}
	case IntentFailed:
		if m.is(Birth, e.Gen) && m.birth == keeping {
			m.failed(e.Reason)
		}
	case Started:
		if m.is(Birth, e.Gen) && m.birth == forking {
			m.born(NoteStarted, "")
		}
	case StartFailed:
		if m.is(Birth, e.Gen) && m.birth == forking {
			m.failed(e.Reason)
		}
	case Resolved:
		if m.is(Birth, e.Gen) && m.birth == resolving {
			m.resolved(e)
		}
	case Signaled:
		if m.is(Alive, e.Gen) && m.rec.State == Stopping {
			m.rec.Signaled = true
		}
	case Ended:
		if m.is(Alive, e.Gen) {
			m.ended(e.Exit, e.TreeGone)
		}
	case TreeGone:
		if m.is(Clearing, e.Gen) {
			m.treeGone()
		}
	case Tick:
	}
	m.due()
	return m.out
}

// Deadline is when Tick is due; false: never.
func (m *Machine) Deadline() (time.Duration, bool) {
	const never = time.Duration(math.MaxInt64)
	at := never
	if m.ending() {
		at = m.rec.StopBy
	}
	if m.rec.State == Backoff {
		at = min(at, m.rec.NextStart)
	}
	if m.rec.HeldUntil > 0 {
		at = min(at, m.rec.HeldUntil)
	}
	return at, at < never
}

// due does what was to wait until now.
func (m *Machine) due() {
	r := &m.rec
	if r.HeldUntil > 0 && m.now >= r.HeldUntil {
		m.unhold("the hold is over")
	}
	if r.State == Backoff && m.now >= r.NextStart {
		m.bear("its wait is over", false)
	}
	switch {
	case !m.ending() || m.now < r.StopBy:
	case r.Phase == Alive && !r.Forced:
		m.note(NoteStopping, fmt.Sprintf("it has not ended within its grace time after %s: killed", r.StopSignal))
		m.force()
	case r.Phase == Alive:
		m.remind("it was killed and the kernel has not ended it: nothing is started in its place before that")
		m.force()
	case r.Phase == Clearing:
		m.remind("processes that it left behind were killed and are still there: nothing is started before they are gone")
		m.clear()
	}
}

// ending: something was asked to end, or made to, and has not yet.
func (m *Machine) ending() bool { return m.rec.State == Stopping && m.rec.Phase != Birth }

func (m *Machine) remind(reason string) {
	if !m.rec.Reminded {
		m.note(NoteStopping, reason)
	}
	m.rec.Reminded = true
}

func (m *Machine) is(p Phase, gen uint64) bool { return m.rec.Phase == p && m.rec.Generation == gen }

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) note(k Kind, reason string) { m.do(Note{k, m.rec.Generation, reason}) }

// enter is the one place where the state changes.
func (m *Machine) enter(s State, p Phase, reason string) {
	if m.rec.State != s {
		m.rec.Since = m.now
	}
	m.rec.State, m.rec.Phase, m.rec.Reason = s, p, reason
	if p != Birth {
		m.birth = noBirth
	}
	if p != Alive && p != Clearing {
		m.rec.StopSignal, m.rec.Signaled, m.rec.StopBy, m.rec.Reminded = "", false, 0, false
	}
	if p == Idle {
		m.rec.Forced = false
	}
	if s != Backoff && s != Held {
		m.rec.NextStart = 0
	}
}
