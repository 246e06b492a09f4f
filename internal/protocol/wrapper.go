package protocol

// A wrapper is what we started for the peer's name when another process, its child,
// has become the peer. It may start its program again by itself, which looks like a
// start by a person: so in a stop it ends before the peer is told.

// wrapper is that process; unknown when there is none.
func (m *Machine) wrapper() Process {
	w := m.revival.spawned
	if m.graves.hold(w) || w == m.peer.process || !m.peer.spoke && !m.peer.holder {
		return Process{}
	}
	return w
}

// endWrapper begins the end of the wrapper, and reports whether it is waited for. It
// has half of the grace, so that the other half is left for the peer.
func (m *Machine) endWrapper() bool {
	w := m.wrapper()
	if !w.Known() || m.ending.unwrapped {
		return false
	}
	m.ending.unwrapped, m.ending.wrapper = true, w
	m.ending.until = m.now + m.cfg.Grace
	m.phaseAt = m.now + m.cfg.Grace/2
	m.do(Terminate{w})
	return true
}

// wrapperOver: it has not ended when it should have.
func (m *Machine) wrapperOver() {
	if m.ending.wrapperKilled { // the kernel takes its time; nothing can be started by it any more
		m.wrapperEnded()
		return
	}
	m.ending.wrapperKilled = true
	m.phaseAt = m.now + m.cfg.Grace/4
	m.do(Kill{m.ending.wrapper})
}

func (m *Machine) wrapperEnded() {
	m.ending.wrapper = Process{}
	m.farewell()
	if m.phase == Ending && m.ending.hurried {
		m.hurry()
	}
}
