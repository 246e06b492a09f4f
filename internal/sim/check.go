package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// Failure is a broken promise.
type Failure struct {
	Promise string
	At      time.Duration
	What    string
}

// The bounds of the promises, with what the simulated system may add to them.
const (
	awayBound  = 3*time.Second + 150*time.Millisecond
	hangBound  = 3 * time.Second
	stopBound  = grace + time.Second + 200*time.Millisecond
	stopGone   = 10 * time.Second
	saneWithin = 200 * time.Millisecond // one that could run for so long has answered a probe
	plainSane  = 8 * time.Second        // a plain peer pings every 2 s
	settleTime = 9 * time.Second        // after it a member has found or revived its peer
)

// checker knows what must hold. It is told of everything that matters.
type checker struct {
	failure   *Failure
	awaySince [2]time.Duration // when the holder died unannounced; -1: not away
	excused   [2]bool          // the peer may be away for longer, for a reason
	unheard   [2]time.Duration // a LOOK did not reach the member of that name
	left      [2]uint64        // the generation that said that it leaves, whatever was stored
	leftAt    [2]time.Duration
	vague     [2]uint64 // the generation whose goodbye was said but could not be stored
	stop      stopWatch
	unstored  bool // a goodbye was said that could not be stored
	twoPlain  bool // there were two copies of a plain peer at a time, which no lock prevents
	counts    Counts
}

// Counts says what a run was made of.
type Counts struct {
	Steps, Kills, Spawns, Deaths, Stops, Leaves uint64
}

// stopWatch follows a stop of the pair.
type stopWatch struct {
	at      time.Duration // of the newest one; -1: none stands
	byHand  bool          // by a member, not by the operator's command
	hurt    bool          // somebody who has to bring it about was killed or stood still
	serial  int32
	started time.Duration // when a person started a member last
}

func newChecker() checker {
	return checker{awaySince: [2]time.Duration{-1, -1}, unheard: [2]time.Duration{-1, -1}, stop: stopWatch{at: -1, started: -1}}
}

func (c *checker) fail(w *world, promise, what string) {
	if c.failure == nil {
		c.failure = &Failure{Promise: promise, At: w.now, What: what}
		w.tellWorld("BROKEN " + promise + ": " + what)
	}
}

// excuse: the process of that name may be away for longer this time.
func (c *checker) excuse(name int) { c.excused[name] = true }
func (c *checker) excuseAll()      { c.excused = [2]bool{true, true} }

// locked: P1, and the end of an absence.
func (c *checker) locked(w *world, id int32) {
	p := &w.procs[id]
	for i := range w.procs {
		if q := &w.procs[i]; int32(i) != id && q.name == p.name && q.holds && q.state < dying {
			c.fail(w, "P1", fmt.Sprintf("process %d takes the name %s that %d holds", id, names[p.name], i))
		}
	}
	if away := c.awaySince[p.name]; away >= 0 && !c.excused[p.name] && w.now-away > awayBound {
		c.fail(w, "P2", fmt.Sprintf("%s was away for %v", names[p.name], w.now-away))
	}
	c.awaySince[p.name] = -1
}

// died: somebody ends. An absence begins when it was the holder and did not
// announce it; its own guarding ends too.
func (c *checker) died(w *world, id int32) {
	p := &w.procs[id]
	if p.kind == impostor {
		return
	}
	c.counts.Deaths++
	if p.holds {
		c.excuse(1 - p.name)
	}
	if p.leaving || w.folder.stop || c.hasLeft(w, p.name) {
		c.awaySince[p.name] = -1
		return
	}
	if !p.holds && c.awaySince[p.name] < 0 || w.plan.plain {
		return
	}
	if p.holds {
		c.excused[p.name] = !w.guarded(p.name) || w.anotherComes(id)
	}
	c.awaySince[p.name] = w.now
}

// guarded: the other member can be expected to answer a death now.
func (w *world) guarded(name int) bool {
	g := w.folder.lock[1-name]
	return g >= 0 && w.procs[g].okSince <= w.now && !w.procs[g].leaving && w.now >= w.folder.awayUntil &&
		w.folder.holdUntil[name] <= w.boottime() && w.now >= w.spawnFail && w.procs[g].machine.Phase() == protocol.Up
}

// anotherComes: another process of the same name lives, and stands still or is slow
// to be born; it will have to come, since nothing is started beside it.
func (w *world) anotherComes(id int32) bool {
	for i := range w.procs {
		if q := &w.procs[i]; int32(i) != id && q.name == w.procs[id].name && q.state < dying && (q.still > 0 || q.state == booting) {
			return true
		}
	}
	return false
}

// spawning: P3, P4 and P8 at the one action that starts something.
func (c *checker) spawning(w *world, id int32) {
	p := &w.procs[id]
	c.counts.Spawns++
	name := 1 - p.name
	for i := range w.procs {
		q := &w.procs[i]
		known := q.heldSince < p.lockReadAt || q.kind == plainOne && (w.folder.recorded[name] == int32(i) || w.folder.intent[name] == int32(i)) && q.born < p.lockReadAt-50*time.Millisecond
		if q.name == name && q.state != dead && q.kind != impostor && known && (q.state < dying || p.tookForPeer(int32(i)) && !w.succeeded(q)) {
			c.fail(w, "P3", fmt.Sprintf("process %d is started anew though %d is not dead", name, i))
		}
	}
	f := &w.folder
	switch {
	case c.hasLeft(w, name) && c.leftAt[name] < p.lockReadAt:
		c.fail(w, "P4", names[name]+" left and is started again")
	case f.stop && f.stopAt < p.lockReadAt:
		c.fail(w, "P4", "the pair was stopped and "+names[name]+" is started again")
	case c.heldFrom(w, p, name):
		c.fail(w, "P5", names[name]+" is held and is started")
	}
	if why := p.budget.spawn(w.now); why != "" && !p.leaving { // who leaves has no time to wait
		c.fail(w, "P8", why)
	}
}

// askedToLeave: a member is asked to leave. What it owes then, it has to do first.
func (c *checker) askedToLeave(w *world, id int32) {
	p, f := &w.procs[id], &w.folder
	name := 1 - p.name
	if !p.begun || p.okSince > w.now || p.owesSince < never || p.startFails || w.plan.plain ||
		f.stop || f.holdUntil[name] > 0 || f.awayUntil > 0 || w.now < w.spawnFail || w.asleep > 0 {
		return
	}
	status := p.machine.Status()
	switch status.Phase {
	case protocol.Reviving, protocol.Waiting:
		if p.mourns {
			p.owesSince = w.now
		}
	case protocol.Fencing:
		p.owesSince = w.now
	}
}

// leaves: P2. Who leaves has answered the death that it knew of before.
func (c *checker) leaves(w *world, id int32) {
	p, f := &w.procs[id], &w.folder
	name := 1 - p.name
	if p.owesSince == never || p.okSince > p.owesSince || w.now-p.owesSince >= grace || c.hasLeft(w, name) || c.vague[name] == f.life[name] ||
		f.stop || f.stopAt > p.owesSince || f.holdUntil[name] > 0 || f.awayUntil > 0 || w.spawnFail > p.owesSince {
		return
	}
	for i := range w.procs {
		if q := &w.procs[i]; q.name == name && q.kind != impostor && (q.state != dead || q.born >= p.owesSince) {
			return
		}
	}
	c.fail(w, "P2", fmt.Sprintf("process %d leaves %v after it was asked to, and the death of %s that it knew of is not answered", id, w.now-p.owesSince, names[name]))
}

// spared: P6. What a person has started after a stop is not ended by it, if the folder
// can tell.
func (c *checker) spared(w *world, id int32) {
	p, f := &w.procs[id], &w.folder
	if f.awayUntil > p.lifeAt {
		return
	}
	if p.begun && !p.revived && !p.leaving && p.kind == member && f.stopAt > 0 && f.stopAt < p.lifeAt && !f.stop && !c.unstored && !w.stopping.active {
		c.fail(w, "P6", fmt.Sprintf("process %d of %s was started by a person after the stop, and is ended with it", id, names[p.name]))
	}
}

// tookForPeer: the process has taken the other one for its peer, so that a free lock alone
// is no proof of its death.
func (p *process) tookForPeer(id int32) bool { return slices.Contains(p.peers, id) }

// succeeded: the name of a dying process has been taken by another one since, which
// its lock permits only when it can do nothing any more.
func (w *world) succeeded(q *process) bool {
	for i := range w.procs {
		if later := &w.procs[i]; later.name == q.name && later.heldSince < never && later.heldSince > q.heldSince && q.heldSince < never {
			return true
		}
	}
	return false
}

// met: a member has taken that process for its peer.
func (w *world) met(id int32) bool {
	for i := range w.procs {
		if w.procs[i].kind == member && w.procs[i].tookForPeer(id) {
			return true
		}
	}
	return false
}

// heldFrom: the name is held, and the guard had the chance to know.
func (c *checker) heldFrom(w *world, guard *process, name int) bool {
	f := &w.folder
	return f.holdUntil[name] > w.boottime()+200*time.Millisecond && f.holdAt[name] < w.now-500*time.Millisecond &&
		guard.okSince < w.now-500*time.Millisecond && c.unheard[guard.name] < f.holdAt[name] && w.now-500*time.Millisecond > f.awayUntil
}

// killing: P5. A process that could run and was well is not judged hung.
func (c *checker) killing(w *world, by, victim int32) {
	c.counts.Kills++
	p, q := &w.procs[by], &w.procs[victim]
	if p.machine.Phase() == protocol.Ending || q.state >= dying || q.kind == impostor {
		return
	}
	sane := saneWithin
	if q.kind == plainOne {
		sane = plainSane
	}
	reachable := q.kind == plainOne || w.folder.socketFile[q.name] && w.folder.listener[q.name] == victim
	switch {
	case q.okSince < w.now-sane && reachable:
		c.fail(w, "P5", fmt.Sprintf("process %d of %s is killed, and was well", victim, names[q.name]))
	case q.state == booting && q.still == 0 && w.now-q.born < startTimeout-time.Second:
		c.fail(w, "P5", fmt.Sprintf("process %d of %s is killed in its birth", victim, names[q.name]))
	case c.heldFrom(w, p, q.name):
		c.fail(w, "P5", names[q.name]+" is held and is killed")
	case q.limbo[pausing] > 0 && q.knownTo != by:
		// Whoever has not seen it starve cannot know that it does not hang.
	case q.excusedNow() && w.innocent(q):
		c.fail(w, "P5", fmt.Sprintf("process %d of %s is killed, and could not run", victim, names[q.name]))
	}
}

// hung: a process has stopped for ever, or is stuck. Its guard has to see it.
func (c *checker) hung(w *world, id int32) {
	p := &w.procs[id]
	if w.random == nil || !w.guarded(p.name) || !p.begun || p.kind != member {
		return
	}
	g := w.folder.lock[1-p.name]
	if w.procs[g].machine.Status().Peer == handleOf(id) {
		w.push(item{at: w.now + hangBound, kind: itemCheck, x: 2 + 2*id})
	}
}

// hurt: the plan has done something to a process; a stop that it has to bring
// about may take longer, and so may the revival of its peer.
func (c *checker) hurt(w *world, id int32, d deed) {
	p := &w.procs[id]
	c.stop.hurt = true
	c.excuse(1 - p.name)
	if d != kill && d != killAtAction {
		c.excuse(p.name)
	}
}

func (c *checker) started(w *world, name int) {
	c.stop.started = w.now
}

// notStored: the goodbye is said, and those who hear it obey it; for the others it
// was a crash.
func (c *checker) notStored(w *world, id int32) {
	c.excuseAll()
	c.unstored = true
	c.vague = w.folder.life
}

func (c *checker) saidGoodbye(w *world, id int32, kind wire.GoodbyeKind) {
	p := &w.procs[id]
	c.excuseAll()
	p.leaving = true
	if kind == wire.Leave {
		c.counts.Leaves++
		c.left[p.name], c.leftAt[p.name] = p.generation, w.now
		return
	}
	c.watchStop(w, true)
}

func (c *checker) stopStored(w *world) {
	if w.stopping.active && w.now == w.stopping.at {
		c.watchStop(w, false)
	}
}

func (c *checker) watchStop(w *world, byHand bool) {
	c.counts.Stops++
	c.excuseAll()
	c.stop.at, c.stop.byHand, c.stop.hurt = w.now, byHand, false
	c.stop.serial += 2
	w.push(item{at: w.now + stopBound, kind: itemCheck, x: -c.stop.serial})
	w.push(item{at: w.now + stopGone, kind: itemCheck, x: -c.stop.serial - 1})
}

// stopCleared: a person has started a member. While the operator's command still
// runs it wins.
func (c *checker) stopCleared(w *world, id int32) {
	if !w.stopping.active {
		c.stop.at = -1
	}
}

// hasLeft: the newest life of the name has said that it leaves.
func (c *checker) hasLeft(w *world, name int) bool {
	return c.left[name] != 0 && c.left[name] == w.folder.life[name]
}

func (c *checker) beginning(w *world, id int32) {
	p := &w.procs[id]
	if p.revived && c.hasLeft(w, p.name) {
		c.fail(w, "P4", names[p.name]+" has left and lives again, though nobody started it")
	}
}

func (c *checker) emitted(w *world, id int32, n protocol.Notice) {
	if n.Kind == protocol.PeerLate && n.PID != 0 {
		q := &w.procs[n.PID-1000]
		q.lateAt, q.lateBy = w.now, id
	}
	switch n.Kind {
	case protocol.PeerDead, protocol.PeerFenced:
		w.procs[id].mourns = true
	case protocol.PeerUp, protocol.PeerLeft, protocol.PeerStarted:
		w.procs[id].mourns = false
	}
	if n.Kind != protocol.PeerUp || n.PID == 0 {
		return
	}
	w.procs[id].budget.met = true
	if q := &w.procs[n.PID-1000]; q.kind == impostor {
		c.fail(w, "P9", "a process that does not hold the name is taken for the peer")
	}
}

// due is a promise whose time has come: negative ones are those of a stop.
func (w *world) due(x int32) {
	if x >= 2 {
		w.check.dueHang(w, (x-2)/2)
		return
	}
	w.check.dueStop(w, -x)
}

func (c *checker) dueHang(w *world, id int32) {
	p := &w.procs[id]
	guard := w.folder.lock[1-p.name]
	if p.state < dying && p.excusedNow() || w.lately(p.excusedAt) || w.lately(p.misreadAt) {
		w.push(item{at: w.now + hangBound, kind: itemCheck, x: 2 + 2*id}) // from the end of its excuse on
		return
	}
	if p.state >= dying || guard < 0 || w.procs[guard].okSince > w.now-hangBound || p.okSince != never && p.still == 0 {
		return
	}
	if !w.guardedThroughout(p.name, guard) || p.leaving || w.procs[guard].machine.Phase() == protocol.Starting {
		return // a guard that has not met it gives it the time of a start
	}
	c.fail(w, "P2", fmt.Sprintf("process %d of %s hangs and is not replaced within %v", id, names[p.name], hangBound))
}

// lately: less than hangBound ago.
func (w *world) lately(at time.Duration) bool { return at != never && at > w.now-hangBound }

// guardedThroughout: nothing keeps the guard from judging, now and for a while.
func (w *world) guardedThroughout(name int, guard int32) bool {
	f := &w.folder
	return f.holdUntil[name] == 0 && f.awayUntil == 0 && !f.stop && w.asleep == 0 && !w.procs[guard].leaving
}

func (c *checker) dueStop(w *world, serial int32) {
	if c.stop.at < 0 || serial/2 != c.stop.serial/2 {
		return // it was followed by another one, or undone
	}
	last := serial%2 == 1
	for i := range w.procs {
		p := &w.procs[i]
		switch {
		case p.state >= dying, p.kind == impostor, c.stop.started >= c.stop.at && p.born >= c.stop.at-100*time.Millisecond:
		case p.state == booting && !last:
		case c.stop.byHand && p.kind == plainOne && (c.twoPlain || !w.met(int32(i))):
			// Nobody can know of every copy.
		case c.stop.byHand && c.stop.hurt && w.folder.holdUntil[1-p.name] > 0:
			// Who began the stop stands still, and is held: nobody suspects it and looks.
		case c.stop.byHand && p.still > 0 && !w.met(int32(i)):
			// Nobody has met it; it reads the stop when it runs.
		case c.stop.byHand && p.still > 0 && w.folder.lock[p.name] != int32(i):
			// It stands still on its way to a name that another one holds.
		case c.stop.byHand && c.stop.hurt && (p.still > 0 || p.sick || p.kind == plainOne || w.now-p.okSince < settleTime):
		default:
			c.fail(w, "P6", fmt.Sprintf("process %d of %s is there %v after the stop", i, names[p.name], w.now-c.stop.at))
		}
	}
}

// atRest is checked when nothing has been done for long: whoever lives has its
// peer, and exactly one, unless a person wanted it otherwise.
func (c *checker) atRest(w *world) {
	for name := range names {
		if c.failure == nil && w.restNeeds(name) {
			c.restOf(w, name)
		}
	}
}

// restNeeds: somebody has been able to care for that name for long enough.
func (w *world) restNeeds(name int) bool {
	g, f := w.folder.lock[1-name], &w.folder
	if w.plan.plain && name == 0 || g < 0 {
		return false // a plain peer guards in its own way
	}
	guard := &w.procs[g]
	return guard.okSince < w.now-settleTime && !guard.leaving && !f.stop && !w.check.hasLeft(w, name) && w.check.vague[name] != f.life[name] &&
		f.holdUntil[name] < w.boottime()-settleTime && f.awayUntil < w.now-settleTime && w.spawnFail < w.now-settleTime
}

func (c *checker) restOf(w *world, name int) {
	guard := &w.procs[w.folder.lock[1-name]]
	status := guard.machine.Status()
	holder := w.folder.lock[name]
	switch {
	case w.kindOf(name) == plainOne:
		if w.alive(name) == 0 {
			c.fail(w, "P2", "at rest the plain peer is not there")
		}
		return
	case holder < 0:
		c.fail(w, "P2", fmt.Sprintf("at rest %s is not there; its guard is %v", names[name], status.Phase))
	case w.procs[holder].okSince == never && (!w.procs[holder].begun || !w.folder.socketFile[name]):
		// It hangs, and nothing shows it as listening (it had not come that far, or the
		// file was removed): a slow starter that holds its name is reported and left.
	case w.procs[holder].okSince == never:
		c.fail(w, "P2", fmt.Sprintf("at rest %s hangs; its guard is %v", names[name], status.Phase))
	case status.Phase != protocol.Up || status.Peer != handleOf(holder):
		c.fail(w, "P2", fmt.Sprintf("at rest %s is there, but its guard is %v with %v", names[name], status.Phase, status.Peer))
	case w.surplus(name) > 0:
		c.fail(w, "P1", fmt.Sprintf("at rest there are %d processes of %s", w.alive(name), names[name]))
	}
}

// budgetModel is the dumb version of the restart rule: how close two starts may
// come to each other.
type budgetModel struct {
	met    bool // a first start, before the peer was met, costs nothing
	starts int
	last   time.Duration
}

func (b *budgetModel) spawn(now time.Duration) string {
	if !b.met {
		b.met = true
		return ""
	}
	gap := now - b.last
	if b.starts > 0 && gap >= stable {
		b.starts = 0
	}
	if b.starts > 0 {
		wait := backoffMax
		if b.starts < 3 {
			wait = backoff << (b.starts - 1)
		}
		if gap < wait*3/4 {
			return fmt.Sprintf("start %d in a row comes %v after the one before", b.starts+1, gap)
		}
	}
	b.starts++
	b.last = now
	return ""
}
