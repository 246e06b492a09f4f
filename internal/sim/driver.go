package sim

import (
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// deliver is what the driver does with an event from aside: one of a link that the
// machine has closed is void.
func (w *world) deliver(id int32, e protocol.Event) {
	switch e := e.(type) {
	case protocol.Dialed:
		if c, side := connOf(e.Link); !w.conns[c].open[side] {
			// It ended before it was reported; its end has been read already.
			w.step(id, e)
			w.step(id, protocol.LinkLost{Link: e.Link})
			return
		}
	case protocol.StartFailed:
		w.procs[id].startFails = false
	case protocol.Surveyed:
		p := &w.procs[id]
		p.lockReadAt, p.readAt = p.readingOf(e).lock, p.readingOf(e).end
	}
	w.step(id, e)
}

// step gives the machine an event and does what it decides, in order.
func (w *world) step(id int32, e protocol.Event) {
	p := &w.procs[id]
	if p.kind != member || p.state >= dying {
		return
	}
	if w.broken == ownLatenessIgnored {
		w.hideLateness(id)
	}
	if w.broken == plainPeerProbed {
		e = takenForSpeaker(p, e)
	}
	w.countStep(id)
	w.check.counts.Steps++
	actions := p.machine.Step(w.now, e)
	p.takes(p.machine.Status().Peer)
	if w.trace != nil {
		w.tellStep(id, e, actions)
	}
	for _, a := range actions {
		if w.procs[id].state >= dying {
			return // killed between two actions
		}
		w.do(id, a)
	}
	w.watchSubject(id, e)
	w.arm(id)
}

// hideLateness is a broken driver: it lets the machine believe that each timer came
// when it was due.
func (w *world) hideLateness(id int32) {
	p := &w.procs[id]
	for range 1000 {
		due := p.machine.Deadline()
		if due >= w.now || p.state >= dying {
			return
		}
		for _, a := range p.machine.Step(due, protocol.Ticked{}) {
			w.do(id, a)
			p = &w.procs[id]
		}
	}
}

// takenForSpeaker is a broken driver: it treats a plain peer as one that speaks.
func takenForSpeaker(p *process, e protocol.Event) protocol.Event {
	if heard, ok := e.(protocol.PlainHeard); ok {
		return protocol.Greeted{Link: heard.Link, Process: heard.Process, Hello: wire.Hello{
			Version: wire.Version, Self: names[1-p.name], Peer: names[p.name], PID: heard.Process.PID, Heartbeat: heartbeat, Healthy: true,
		}}
	}
	return e
}

// watchSubject: the death of whom the event speaks of matters from now on.
func (w *world) watchSubject(id int32, e protocol.Event) {
	switch e := e.(type) {
	case protocol.Dialed:
		w.watch(id, e.Process)
	case protocol.Greeted:
		w.watch(id, e.Process)
	case protocol.PlainHeard:
		w.watch(id, e.Process)
	case protocol.Started:
		w.watch(id, e.Process)
	case protocol.Begun:
		w.watch(id, e.Survey.Holder)
		w.watch(id, e.Survey.Recorded)
	case protocol.Surveyed:
		w.watch(id, e.Survey.Holder)
		w.watch(id, e.Survey.Recorded)
	}
}

// arm sets the one timer.
func (w *world) arm(id int32) {
	p := &w.procs[id]
	due := p.machine.Deadline()
	if due == p.timerAt || p.state >= dying {
		return
	}
	p.timerAt = due
	p.timerSeq++
	if due == never {
		return
	}
	late := w.upTo(time.Millisecond)
	if w.chance(w.faults.LateTimer) {
		late = w.upTo(15 * time.Millisecond)
	}
	w.push(item{at: max(due, w.now) + late, kind: itemTimer, p: id, x: p.timerSeq})
}

func (w *world) timer(id, seq int32) {
	p := &w.procs[id]
	if seq != p.timerSeq {
		return
	}
	p.timerAt = never
	w.step(id, protocol.Ticked{})
}

func (w *world) do(id int32, action protocol.Action) {
	p := &w.procs[id]
	if p.killAt != 0 && killsAt(p.killAt-1, action) {
		p.killAt = 0
		if w.random.IntN(3) == 0 {
			w.check.stop.hurt = true
			w.die(id, "is killed")
			return
		}
		w.push(item{at: w.now + w.upTo(10*time.Millisecond), kind: itemKill, p: id})
	}
	aside := w.now + w.delay()
	switch a := action.(type) {
	case protocol.Dial:
		it := item{at: aside, kind: itemDial, p: id}
		if a.Probe {
			it.side = 1
		}
		w.push(it)
	case protocol.Send:
		w.send(id, a.Link, a.Message)
	case protocol.SendBeat:
		w.send(id, a.Link, wire.Beat{Healthy: !p.sick})
	case protocol.CloseLink:
		c, side := connOf(a.Link)
		w.hangUp(c, side)
	case protocol.TakeSurvey:
		w.push(item{at: aside, kind: itemRead, p: id, event: protocol.Surveyed{Token: a.Token}})
	case protocol.Examine:
		w.push(item{at: aside, kind: itemLook, p: id, event: protocol.Examined{Process: a.Process}})
	case protocol.Spawn:
		w.check.spawning(w, id)
		w.push(item{at: aside, kind: itemSpawn, p: id})
	case protocol.Kill:
		w.kill(id, a.Process)
	case protocol.Terminate:
		w.terminate(procOf(a.Process))
	case protocol.StoreGoodbye:
		w.push(item{at: aside + w.upTo(5*time.Millisecond), kind: itemStore, p: id, event: protocol.GoodbyeStored{Kind: a.Kind}})
	case protocol.Emit:
		w.check.emitted(w, id, a.Notice)
	case protocol.End:
		w.check.spared(w, id)
		p.leaving = true
		w.check.leaves(w, id)
		w.die(id, "ends")
	}
}

func (w *world) send(id int32, l protocol.Link, m wire.Message) {
	if hello, ok := m.(wire.Hello); ok {
		hello.Healthy = !w.procs[id].sick
		m = hello
	}
	c, side := connOf(l)
	w.put(c, side, line{message: m})
}

func (w *world) kill(by int32, victim protocol.Process) {
	w.check.killing(w, by, procOf(victim))
	switch {
	case w.broken == noFence:
		w.later(by, protocol.Died{Process: victim, Exit: "signal KILL"})
		return
	case w.broken == stopDoesNotKill && w.procs[by].machine.Phase() == protocol.Ending:
		return
	}
	if p := &w.procs[by]; p.machine.Phase() == protocol.Ending {
		w.check.spared(w, procOf(victim))
	}
	w.die(procOf(victim), "is killed by the peer")
}

// terminate is SIGTERM.
func (w *world) terminate(id int32) {
	p := &w.procs[id]
	if p.state >= dying {
		return
	}
	if p.kind != member {
		if p.still == 0 {
			w.die(id, "ends on SIGTERM")
		}
		return
	}
	p.leaving = true
	if p.state == booting {
		w.die(id, "ends on SIGTERM")
		return
	}
	w.check.askedToLeave(w, id)
	if w.broken == leaverDoesNotWait && p.begun {
		w.folder.leave[p.name], w.folder.leftAt[p.name] = p.generation, w.now
		w.check.saidGoodbye(w, id, wire.Leave)
		w.check.leaves(w, id)
		w.die(id, "ends on SIGTERM")
		return
	}
	w.later(id, protocol.LeaveAsked{Reason: "SIGTERM"})
}

// spawn is fork and exec; that it is recorded and reported comes a little later.
func (w *world) spawn(id int32) {
	p := &w.procs[id]
	if w.now < w.spawnFail || w.chance(w.faults.SpawnFails) {
		w.check.excuse(1 - p.name)
		p.owesSince, p.startFails = never, true
		w.later(id, protocol.StartFailed{Reason: "no such file"})
		return
	}
	if w.broken == spawnLost {
		return
	}
	kind := member
	if w.plan.plain && p.name == 0 {
		kind = plainOne
	}
	name := 1 - p.name // p is void after a birth
	child := w.bear(name, kind, true, id)
	w.procs[id].mourns = false // that is the answer, whatever becomes of it
	f := &w.folder
	f.recorded[name], f.intent[name], f.intentOf[name] = -1, child, id
	w.push(item{at: w.now + w.delay() + w.upTo(w.faults.RecordTime), kind: itemRecord, p: id, x: child})
}

func (w *world) record(id, child int32) {
	f, name := &w.folder, w.procs[child].name
	f.recorded[name] = child
	if f.intent[name] == child {
		f.intent[name] = -1
	}
	w.later(id, protocol.Started{Process: handleOf(child)})
}

// countStep: a machine that is stepped all the time spins.
func (w *world) countStep(id int32) {
	p := &w.procs[id]
	if w.now-p.stepsSince > time.Second {
		p.steps, p.stepsSince = 0, w.now
	}
	if p.steps++; p.steps > lookLimit {
		w.check.fail(w, "P10", names[p.name]+" spins")
	}
}
