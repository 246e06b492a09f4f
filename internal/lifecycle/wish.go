package lifecycle

import "time"

func (m *Machine) start() {
	m.rec.Wanted = WantRunning
	switch m.rec.Phase {
	case Idle:
		m.bear("a person started it", true)
	case Birth:
		if m.rec.State == Stopping { // a stop that came while it was being forked is taken back
			m.rec.Forced = false
			m.enter(Starting, Birth, "a person started it")
		}
	case Alive:
		m.rec.Renew = m.rec.Renew || m.rec.State == Stopping
	case Clearing:
		m.rec.Renew = true
	}
}

func (m *Machine) stop(force bool) {
	r := &m.rec
	r.Wanted, r.Renew = WantStopped, false
	const reason = "a person stopped it"
	switch r.Phase {
	case Idle:
		waits := r.State == Backoff || r.State == Held
		m.enter(Stopped, Idle, reason)
		if waits {
			m.note(NoteStopped, reason)
		}
	case Birth:
		if m.birth == keeping { // the answer to KeepIntent finds nobody who waits for it
			m.unwanted()
			return
		}
		r.Forced = r.Forced || force
		m.enter(Stopping, Birth, reason)
	case Alive:
		m.end(force, reason)
		r.Reason = reason
	case Clearing:
	}
}

func (m *Machine) restart(gen uint64) {
	r := &m.rec
	if gen != 0 && gen != r.Generation {
		m.start()
		return
	}
	r.Wanted = WantRunning
	const reason = "a person restarted it"
	switch r.Phase {
	case Idle:
		m.bear(reason, true)
	case Birth:
		m.renewBirth(reason)
	case Alive:
		r.Renew = true
		m.end(false, reason)
	case Clearing:
		r.Renew = true
	}
}

// renewBirth: the start under way is not the one that is wanted, if it has been made; one that is only intended becomes it.
func (m *Machine) renewBirth(reason string) {
	if m.birth == keeping {
		return
	}
	m.rec.Renew, m.rec.Forced = true, false
	m.enter(Starting, Birth, reason)
}

func (m *Machine) held() bool { return m.rec.HeldUntil > m.now }

func (m *Machine) hold(d time.Duration) {
	if d <= 0 {
		return
	}
	r := &m.rec
	r.HeldUntil = m.now + min(d, farAway)
	if r.State == Backoff {
		next := r.NextStart
		m.enter(Held, Idle, "held by a person")
		r.NextStart = next
	}
	m.note(NoteHeld, "held by a person for "+d.Round(time.Millisecond).String())
}

func (m *Machine) unhold(reason string) {
	r := &m.rec
	if r.HeldUntil == 0 {
		return
	}
	r.HeldUntil = 0
	m.note(NoteUnheld, reason)
	if r.State == Held { // when its wait is over too it starts in this same Step
		next := r.NextStart
		m.enter(Backoff, Idle, reason)
		r.NextStart = next
	}
}

func (m *Machine) redefine(e Redefine) {
	r := &m.rec
	wanted := r.Wanted == WantRunning
	const reason = "its definition changed"
	if e.Changed && wanted && r.Phase == Alive { // it is ended as its own policy says
		r.Renew = true
		m.end(false, reason)
	}
	m.setPolicy(e.Policy)
	switch {
	case !wanted:
	case !e.Changed:
		m.judgeAgain()
	case r.Phase == Birth:
		m.renewBirth(reason)
	case r.Phase == Clearing:
		r.Renew = true
	case r.State == Held:
		r.NextStart = m.now
	case r.Phase == Idle:
		m.bear(reason, true)
	}
}

// judgeAgain: whether one that is down waits to be started, or is not, is as its policy says now.
func (m *Machine) judgeAgain() {
	r := &m.rec
	again := m.policy.restarts(r.Exit)
	if r.Failed {
		again = m.policy.Restart != Never
	}
	switch waits := r.State == Backoff || r.State == Held; {
	case waits && !again && r.Failed:
		m.enter(Fatal, Idle, r.Reason)
	case waits && !again:
		m.enter(Exited, Idle, r.Reason)
	case again && (r.State == Exited || r.State == Fatal):
		m.bear("its policy changed", true)
	}
}
