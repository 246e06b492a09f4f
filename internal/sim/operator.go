package sim

import (
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
)

// operatorStop is a `pairguard stop` under way.
type operatorStop struct {
	active bool
	at     time.Duration
}

// deed does what the plan says.
func (w *world) deed(h happening) {
	id := w.current(h.name)
	w.tellDeed(h, id)
	switch h.deed {
	case leave, stopHere, stopTwice, kill, killAtAction, standStill, stopForEver, sicken, starve, freeze, debug:
		if id >= 0 {
			w.deedTo(id, h)
		}
	case stall:
		w.stallAll(h.lasts)
	case suspend:
		w.asleep += h.lasts
		w.check.excuseAll()
	case stopFolder:
		w.operatorStage(0)
	case hold:
		w.hold(h.name, h.lasts)
	case unhold:
		w.hold(h.name, 0)
	case start, startAgainstStop:
		w.personStarts(h.name)
	case visit:
		w.push(item{at: w.now + h.lasts, kind: itemVisitEnds, p: w.personStarts(h.name)})
	case startTwice:
		w.personStarts(h.name)
		w.personStarts(h.name)
	case removeSocket:
		w.folder.socketFile[h.name] = false
	case folderAway:
		w.folder.awayUntil = max(w.folder.awayUntil, w.now+h.lasts)
		w.check.excuseAll()
	case spawnsFail:
		w.spawnFail = max(w.spawnFail, w.now+h.lasts)
	case impersonate:
		w.bear(h.name, impostor, false, -1)
	}
}

// deedTo is what happens to one process.
func (w *world) deedTo(id int32, h happening) {
	p := &w.procs[id]
	w.check.hurt(w, id, h.deed)
	switch h.deed {
	case kill:
		w.die(id, "is killed")
	case killAtAction:
		p.killAt = 1 + h.which
	case standStill:
		w.stand(id, stopped, h.lasts)
	case starve:
		w.stand(id, starved, h.lasts)
	case freeze:
		w.stand(id, frozen, h.lasts)
	case debug:
		w.stand(id, traced, h.lasts)
	case stopForEver:
		w.stand(id, stopped, never)
		w.check.hung(w, id)
	case sicken:
		if !p.sick {
			p.spins, p.runsSince = h.which%2 == 0, w.now
		}
		p.sick, p.okSince = true, never
		w.check.hung(w, id)
	case leave:
		w.check.excuse(h.name)
		w.terminate(id)
	case stopHere, stopTwice:
		w.ctrlC(id)
		if h.deed == stopTwice {
			w.push(item{at: w.now + h.lasts/4, kind: itemDeliver, p: id, event: protocol.StopAsked{Reason: "Ctrl-C"}})
		}
	}
}

// ctrlC is the signal of a person at the terminal; a process that is not a member
// yet, or none, just ends.
func (w *world) ctrlC(id int32) {
	p := &w.procs[id]
	p.leaving = true
	if p.kind != member || p.state == booting {
		w.die(id, "ends on SIGINT")
		return
	}
	w.later(id, protocol.StopAsked{Reason: "Ctrl-C"})
}

// stallAll: nobody gets any CPU; they come back one after the other.
func (w *world) stallAll(lasts time.Duration) {
	w.check.excuseAll()
	for i := range w.procs {
		if p := &w.procs[i]; p.state < dying {
			w.check.hurt(w, int32(i), stall)
			w.stand(int32(i), starved, lasts+w.upTo(100*time.Millisecond))
		}
	}
}

// hold stores a hold of the name, or clears it, and asks its guard to look.
func (w *world) hold(name int, lasts time.Duration) {
	if w.now < w.folder.awayUntil {
		return
	}
	w.folder.holdUntil[name], w.folder.holdAt[name] = w.boottime()+lasts, w.now
	w.check.excuse(name)
	w.look(1 - name)
}

// look asks the member that listens under a name to read the folder.
func (w *world) look(name int) {
	owner := w.folder.listener[name]
	if owner < 0 || !w.folder.socketFile[name] || !w.procs[owner].listening || w.procs[owner].kind != member {
		if name >= 0 {
			w.check.unheard[name] = w.now
		}
		return
	}
	w.later(owner, protocol.LookAsked{})
}

func (w *world) kindOf(name int) procKind {
	if w.plan.plain && name == 1 {
		return plainOne
	}
	return member
}

func (w *world) visitEnds(id int32) {
	if w.procs[id].state < dying {
		w.check.excuse(w.procs[id].name)
		w.check.hurt(w, id, leave)
		w.terminate(id)
	}
}

func (w *world) personStarts(name int) int32 {
	w.check.started(w, name)
	return w.bear(name, w.kindOf(name), false, -1)
}

// operatorStage is `pairguard stop`: the record, the word, the grace time, and
// then the end of whoever is left, plain peers first.
func (w *world) operatorStage(stage int) {
	switch {
	case stage == 0 && (w.now < w.folder.awayUntil || w.stopping.active):
		return
	case stage == 0:
		w.stopping = operatorStop{active: true, at: w.now}
		w.storeStop()
		w.endPlain()
		w.look(0)
		w.look(1)
	case !w.folder.stop:
		w.storeStop() // a person's start cleared it meanwhile
		w.look(0)
		w.look(1)
	}
	left := 0
	for name := range names {
		left += w.alive(name)
	}
	if stage > 0 && left == 0 {
		w.stopping.active = false
		return
	}
	if w.now-w.stopping.at >= grace {
		w.killAll()
	}
	if w.now-w.stopping.at > grace+3*time.Second {
		w.stopping.active = false
		return
	}
	next := w.now + 100*time.Millisecond
	if w.random == nil {
		next = w.now + grace // each look in between would only multiply the states
	}
	if at := w.stopping.at + grace; w.now < at {
		next = min(next, at)
	}
	w.push(item{at: next, kind: itemOperator, x: int32(stage + 1)})
}

func (w *world) endPlain() {
	for i := range w.procs {
		if w.procs[i].kind == plainOne {
			w.terminate(int32(i))
		}
	}
}

func (w *world) killAll() {
	for _, kind := range []procKind{plainOne, member} {
		for i := range w.procs {
			if w.procs[i].kind == kind {
				w.die(int32(i), "is killed by the operator")
			}
		}
	}
}
