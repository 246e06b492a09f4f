package lifecycle

import (
	"fmt"
	"time"
)

// bear begins a new generation. asked: a person did, so that it begins a new past.
func (m *Machine) bear(reason string, asked bool) {
	r := &m.rec
	if asked {
		r.Starts, r.Restarts = 0, 0
		m.setPolicy(m.policy)
	} else {
		r.Restarts++
	}
	m.intend(reason)
}

func (m *Machine) intend(reason string) {
	m.rec.Generation++
	m.rec.Renew, m.rec.Failed, m.rec.Forced = false, false, false
	m.enter(Starting, Birth, reason)
	m.birth = keeping
	m.do(KeepIntent{m.rec.Generation})
}

// born: there is a main process.
func (m *Machine) born(k Kind, reason string) {
	m.rec.Born = m.now
	m.enter(Running, Alive, reason)
	m.note(k, reason)
	m.obey()
}

// obey does with a main process that runs what was asked for before it was known.
func (m *Machine) obey() {
	switch {
	case m.rec.Wanted == WantStopped:
		m.end(m.rec.Forced, "a person stopped it")
	case m.rec.Renew:
		m.end(false, "to be started anew")
	}
}

// failed: no process came of the newest start.
func (m *Machine) failed(reason string) {
	m.rec.Failed = true
	m.note(NoteFailed, reason)
	if m.unwanted() {
		return
	}
	if m.rec.Renew {
		m.bear("a person asked while a start failed", true)
		return
	}
	m.settle(reason)
}

// settle decides what follows a life that is over, or a start that came to nothing.
func (m *Machine) settle(reason string) {
	if m.rec.Failed && m.policy.Restart == Never {
		m.enter(Fatal, Idle, reason)
		return
	}
	if !m.rec.Failed && !m.policy.restarts(m.rec.Exit) {
		m.enter(Exited, Idle, reason)
		return
	}
	wait := min(m.budget.Next(), farAway)
	m.rec.Starts = m.budget.Starts()
	if m.rec.Failed {
		wait = max(wait, failedStart)
	}
	m.wait(wait, reason)
}

func (m *Machine) wait(d time.Duration, reason string) {
	if m.held() {
		m.enter(Held, Idle, reason)
		m.rec.NextStart = m.now + d
		m.note(NoteHeld, "not started again while it is held")
		return
	}
	if d == 0 {
		m.bear(reason, false)
		return
	}
	m.enter(Backoff, Idle, reason)
	m.rec.NextStart = m.now + d
	m.note(NoteBackoff, fmt.Sprintf("it is started again in %v", d.Round(time.Millisecond)))
}

// unwanted closes a program that is not to run, and tells whether it was one.
func (m *Machine) unwanted() bool {
	if m.rec.Wanted != WantStopped {
		return false
	}
	m.enter(Stopped, Idle, "a person stopped it")
	m.note(NoteStopped, m.rec.Reason)
	return true
}

// resolved: what became of the start that a predecessor had in hand.
func (m *Machine) resolved(e Resolved) {
	switch {
	case e.Found:
		m.born(NoteAdopted, "found after its supervisor died while it was being started")
	case e.Ran:
		m.rec.Born = m.now
		m.ended(Exit{}, false)
	case m.unwanted():
	default:
		m.intend("its supervisor died before it was started")
	}
}

// end asks the main process to end, or with force makes it.
func (m *Machine) end(force bool, reason string) {
	if m.rec.State != Stopping {
		m.enter(Stopping, Alive, reason)
		m.note(NoteStopping, reason)
		m.rec.Forced, m.rec.Reminded = false, false
		if !force {
			m.rec.StopSignal, m.rec.Signaled, m.rec.StopBy = m.policy.stopSignal(), false, m.now+m.policy.Grace
			m.do(Signal{m.rec.Generation, m.rec.StopSignal})
		}
	}
	if force && !m.rec.Forced {
		m.force()
	}
}

func (m *Machine) force() {
	m.rec.Forced, m.rec.StopBy = true, m.now+reminder
	m.do(Kill{m.rec.Generation})
}

// ended: the main process is dead; whatever it left behind is ended before anything else.
func (m *Machine) ended(e Exit, treeGone bool) {
	r := &m.rec
	r.Ended, r.Exit, r.Failed = true, e, false
	m.budget.Ran(max(m.now-r.Born, 0))
	r.Starts = m.budget.Starts()
	m.enter(Stopping, Clearing, e.String())
	m.note(NoteExited, e.String())
	r.Reminded = false
	if treeGone {
		m.treeGone()
		return
	}
	m.clear()
}

func (m *Machine) clear() {
	m.rec.StopBy = m.now + reminder
	m.do(EndTree{m.rec.Generation})
}

func (m *Machine) treeGone() {
	reason := m.rec.Exit.String()
	switch {
	case m.unwanted():
	case m.rec.Renew:
		m.bear("a person asked", true)
	default:
		m.settle(reason)
	}
}

// begin: what a predecessor left to be done.
func (m *Machine) begin(e Begin) {
	r := &m.rec
	if e.Found > 0 && !m.is(Alive, e.Found) && !m.is(Clearing, e.Found) {
		if r.Generation != e.Found { // it was wanted after what the record tells
			r.Wanted, r.Renew = WantRunning, false
			m.enter(Stopped, Idle, "")
		}
		r.Generation = e.Found
		m.born(NoteAdopted, "it was found running")
		return
	}
	switch r.Phase {
	case Birth:
		m.do(Resolve{r.Generation})
	case Alive:
		if e.FromDisk {
			m.note(NoteAdopted, "it was running when the supervisors came back")
		}
		switch {
		case r.State != Stopping:
		case r.Forced:
			m.force()
		case !r.Signaled:
			m.do(Signal{r.Generation, r.StopSignal})
		}
	case Clearing:
		m.clear()
	case Idle:
	}
}
