package sim

import (
	"slices"
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/restart"
)

type procKind uint8

const (
	member   procKind = iota
	plainOne          // like the Qt class
	impostor          // says HELLO for a name that it does not hold
)

type procState uint8

const (
	booting procState = iota
	running
	dying
	dead
)

var names = [2]string{"procA", "procB"}

// process is one process of the simulated machine.
type process struct {
	name       int
	kind       procKind
	state      procState
	begun      bool          // its machine has begun (a plain peer: at once)
	revived    bool          // it carries the token of a revival
	sick       bool          // its application is stuck
	leaving    bool          // it has announced its end, or was asked to
	lifeAt     time.Duration // when its life was recorded
	mourns     bool          // it has told of the death of its peer, and not of another one there
	startFails bool          // a start of its peer came to nothing, and it does not know yet
	owesSince  time.Duration // it was asked to leave while a death waited for its answer; never: it was not
	listening  bool
	lateAt     time.Duration     // when it was told last that it is late
	lateBy     int32             // and by whom
	knownTo    int32             // who knows that it had starved when it paused
	stillFrom  time.Duration     // since when it has stood still without a break
	paused     bool              // it has had its pause
	spins      bool              // it is sick in that it turns on the spot; else it sleeps
	still      int               // how many reasons it has to stand still
	limbo      [limboCount]uint8 // how many of each kind
	excusedAt  time.Duration     // when an excuse ended last; never: there was none
	awake      uint8             // the newest looks at it, a bit each: it was found awake by chance
	misreadAt  time.Duration     // when most looks had found that last; never: they had not
	guiltyAt   time.Duration     // when it stood still last without an excuse; never: it did not
	cpu        time.Duration     // the time that it has used, before runsSince
	runsSince  time.Duration
	doomed     bool // it ends right after its birth
	parent     int32
	killAt     uint8 // 1 + the kind of action at which it is killed
	born       time.Duration
	begunAt    time.Duration
	heldSince  time.Duration // its name; never: it does not and did not hold it
	holds      bool
	okSince    time.Duration // it could run, and was well, since then
	diedAt     time.Duration
	lockReadAt time.Duration // when the survey that it knows read the lock
	readAt     time.Duration // and when it was read to the end
	reads      [8]reading    // of the surveys under way, by their token
	generation uint64
	machine    protocol.Machine
	random     uint64
	timerAt    time.Duration
	timerSeq   int32
	watching   []int32 // whose death it will hear of
	peers      []int32 // whom it has taken for its peer
	deferred   []item
	plain      plainPeer
	budget     budgetModel
	steps      int
	stepsSince time.Duration
	survey     protocol.Survey // the one before, for the variant that reads too early
}

// reading is when a survey read the lock, and when it was read to the end.
type reading struct{ lock, end time.Duration }

func handleOf(p int32) protocol.Process {
	return protocol.Process{Handle: uint64(p) + 1, PID: 1000 + int(p)}
}

func procOf(p protocol.Process) int32 { return int32(p.Handle) - 1 }

// bear makes a process; it boots for a while.
func (w *world) bear(name int, kind procKind, revived bool, parent int32) int32 {
	id := int32(len(w.procs))
	p := process{
		name: name, kind: kind, revived: revived, parent: parent, born: w.now,
		excusedAt: never, misreadAt: never, guiltyAt: never, heldSince: never, okSince: never, diedAt: never, begunAt: never, owesSince: never, timerAt: never, readAt: -1, lockReadAt: -1,
		random: uint64(id)*7919 + 1,
	}
	if kind == plainOne && w.alive(name) > 0 {
		w.check.twoPlain = true
	}
	boot := 2*time.Millisecond + w.upTo(60*time.Millisecond)
	if revived && w.chance(w.faults.SpawnExits) {
		p.doomed = true
		w.check.excuse(name)
	}
	if w.chance(w.faults.SlowBoot) {
		boot = w.upTo(4 * time.Second)
		w.check.excuse(name)
	}
	w.procs = append(w.procs, p)
	w.push(item{at: w.now + boot, kind: itemBoot, p: id})
	w.tell(id, "is born", w.parentText(parent))
	return id
}

// jitter is the machine's source of randomness: part of the process, so that a
// copy of the world draws the same.
func (w *world) jitter(id int32) func() float64 {
	if w.random == nil {
		return func() float64 { return 0 }
	}
	return w.random.Float64
}

func (w *world) newMachine(id int32) protocol.Machine {
	p := &w.procs[id]
	policy := restart.Policy{Backoff: backoff, Max: backoffMax, Stable: stable}
	if w.broken == backoffIgnored {
		policy.Backoff = 0
	}
	return *protocol.New(protocol.Config{
		Self: names[p.name], Peer: names[1-p.name], PID: 1000 + int(id), Generation: p.generation,
		UnsureLimit: unsureLimit, Heartbeat: heartbeat, Timeout: timeout, StartTimeout: startTimeout, Grace: grace, Patience: patience,
		Restart: policy, PlainPermitted: w.plan.plain, Random: w.jitter(id),
	})
}

// boot takes a member through its birth, stage by stage: it can be killed between
// any two.
func (w *world) boot(id int32, stage int32) {
	p := &w.procs[id]
	if p.doomed {
		w.die(id, "ends at once")
		return
	}
	if p.kind != member {
		w.bootOther(id)
		return
	}
	next := w.now + w.delay()
	switch stage {
	case 0:
		if !w.takeLock(id) {
			w.die(id, "ends: the name is taken")
			return
		}
	case 1:
		if !w.beginLife(id) {
			w.die(id, "ends: its name has left since it was started")
			return
		}
	case 2:
		w.listen(id)
		p.state = running
		p.machine = w.newMachine(id)
	case 3:
		w.push(item{at: next, kind: itemRead, p: id, event: protocol.Begun{}})
		if w.random != nil {
			w.push(item{at: w.now + nameCheck, kind: itemHeal, p: id})
		}
		return
	}
	w.push(item{at: next, kind: itemBoot, p: id, x: stage + 1})
}

// begin is the end of the birth: the machine has been given its first event.
func (w *world) begin(id int32) {
	p := &w.procs[id]
	p.begun, p.begunAt = true, w.now
	if !p.sick {
		p.okSince = w.now
	}
	w.release(id)
}

// release puts what was waiting for a process back into the queue, in order; a
// timer may overtake what waits beside it.
func (w *world) release(id int32) {
	p := &w.procs[id]
	waiting := p.deferred
	p.deferred = nil
	first := w.random != nil && w.random.IntN(2) == 0
	for _, timers := range []bool{first, !first} {
		for _, it := range waiting {
			if (it.kind == itemTimer) == timers {
				it.at = w.now
				w.push(it)
			}
		}
	}
}

// stand makes a process stand still for a while, or for ever.
func (w *world) stand(id int32, why limbo, lasts time.Duration) {
	p := &w.procs[id]
	if p.spins && p.still == 0 {
		p.cpu += w.now - p.runsSince
	}
	if p.still == 0 {
		p.stillFrom = w.now
	}
	p.still++
	p.limbo[why]++
	p.okSince = never
	if lasts < never {
		w.push(item{at: w.now + lasts, kind: itemResume, p: id, x: int32(why)})
	}
}

func (w *world) resume(id int32, why limbo) {
	p := &w.procs[id]
	if p.state >= dying || p.limbo[why] == 0 {
		return
	}
	p.limbo[why]--
	pauses := why == starved && w.knownToStarve(p) && w.chance(w.faults.Pauses)
	if why == stopped {
		p.guiltyAt = w.now
	} else {
		p.excusedAt = w.now
	}
	if p.still--; p.still > 0 {
		return
	}
	if pauses {
		p.paused, p.knownTo = true, p.lateBy
		w.stand(id, pausing, w.upTo(longestPause))
		return
	}
	p.runsSince = w.now
	w.tell(id, "runs again", "")
	if p.begun && !p.sick {
		p.okSince = w.now
	}
	w.release(id)
}

// die ends a process: its connections and its lock go while its memory is torn
// down, in any order; the proof comes last.
func (w *world) die(id int32, how string) {
	p := &w.procs[id]
	if p.state >= dying {
		return
	}
	w.tell(id, how, "")
	w.check.died(w, id)
	p.state, p.okSince, p.diedAt, p.deferred = dying, never, w.now, nil
	teardown := w.upTo(w.faults.Teardown)
	if w.random != nil && w.random.IntN(3) > 0 {
		teardown = w.upTo(3 * time.Millisecond)
	}
	w.push(item{at: w.now + w.upTo(teardown), kind: itemCloseAll, p: id})
	w.push(item{at: w.now + w.upTo(teardown), kind: itemFreeLock, p: id})
	w.push(item{at: w.now + teardown, kind: itemDead, p: id})
}

func (w *world) proveDead(id int32) {
	p := &w.procs[id]
	w.closeAll(id)
	w.freeLock(id)
	p.state, p.holds = dead, false
	for i := range w.procs {
		for _, watched := range w.procs[i].watching {
			if watched == id {
				w.reportDead(int32(i), id)
			}
		}
	}
}

func (w *world) reportDead(to, id int32) {
	w.push(item{at: w.now + w.delay(), kind: itemDeliver, p: to, event: protocol.Died{Process: handleOf(id), Exit: "signal KILL"}})
}

// watch: from now on the death of q matters to p. One that is dead is reported
// again, after the event that spoke of it.
func (w *world) watch(id int32, subject protocol.Process) {
	if !subject.Known() {
		return
	}
	q, p := procOf(subject), &w.procs[id]
	if w.procs[q].state == dead {
		w.reportDead(id, q)
		return
	}
	for _, known := range p.watching {
		if known == q {
			return
		}
	}
	p.watching = append(p.watching, q)
}

// takes notes whom the machine takes for its peer.
func (p *process) takes(peer protocol.Process) {
	if peer.Known() && !slices.Contains(p.peers, procOf(peer)) {
		p.peers = append(p.peers, procOf(peer))
	}
}

// alive counts the processes of a name that are not proved dead.
func (w *world) alive(name int) (n int) {
	for i := range w.procs {
		if p := &w.procs[i]; p.name == name && p.state != dead && p.kind != impostor {
			n++
		}
	}
	return n
}

// surplus counts the processes of a name that do not hold it and could have ended.
func (w *world) surplus(name int) (n int) {
	for i := range w.procs {
		if p := &w.procs[i]; p.name == name && p.state < dying && p.kind == member && p.still == 0 && w.folder.lock[name] != int32(i) {
			n++
		}
	}
	return n
}

// current is the process that a deed for that name meets, or -1: the holder, else
// the newest one that lives.
func (w *world) current(name int) int32 {
	if h := w.folder.lock[name]; h >= 0 && w.procs[h].state < dying {
		return h
	}
	for i := len(w.procs) - 1; i >= 0; i-- {
		if p := &w.procs[i]; p.name == name && p.state < dying && p.kind != impostor {
			return int32(i)
		}
	}
	return -1
}
