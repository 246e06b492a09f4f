package sim

import (
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// folder is where the two meet: locks, sockets and records. Index: the name.
type folder struct {
	lock       [2]int32 // the holder; -1: free
	listener   [2]int32
	socketFile [2]bool
	life       [2]uint64
	leave      [2]uint64 // the generation that left; 0: no record
	leftAt     [2]time.Duration
	stop       bool
	stopAt     time.Duration
	recorded   [2]int32 // what was started; -1: nothing
	intent     [2]int32 // what was started and is not recorded yet; -1: nothing
	intentOf   [2]int32 // who started it
	holdUntil  [2]time.Duration
	holdAt     [2]time.Duration
	awayUntil  time.Duration // it cannot be read until then
	// before is what stood there when it was last read, for a broken variant
}

func newFolder() folder {
	return folder{lock: [2]int32{-1, -1}, listener: [2]int32{-1, -1}, recorded: [2]int32{-1, -1}, intent: [2]int32{-1, -1}}
}

// boottime goes on while the machine is suspended.
func (w *world) boottime() time.Duration { return w.now + w.asleep }

func (w *world) takeLock(id int32) bool {
	p := &w.procs[id]
	if w.folder.lock[p.name] >= 0 {
		return false
	}
	w.folder.lock[p.name] = id
	p.holds, p.heldSince = true, w.now
	if w.broken == lockFreedEarly {
		w.push(item{at: w.now + time.Second, kind: itemFreeLock, p: id})
	}
	w.check.locked(w, id)
	return true
}

func (w *world) freeLock(id int32) {
	if name := w.procs[id].name; w.folder.lock[name] == id {
		w.folder.lock[name] = -1
	}
}

// beginLife: the life record ends an earlier leave, and a person's start an
// earlier stop. A revival that finds its own name left since does not begin.
func (w *world) beginLife(id int32) bool {
	p, f := &w.procs[id], &w.folder
	if p.revived && f.left(p.name) && w.broken != successorDoesNotLook {
		return false
	}
	w.check.beginning(w, id)
	if !p.revived && f.stop {
		f.stop = false
		w.check.stopCleared(w, id)
	}
	f.life[p.name]++
	p.generation, p.lifeAt = f.life[p.name], w.now
	return true
}

// left: the newest life of the name ended by a leave.
func (f *folder) left(name int) bool { return f.leave[name] != 0 && f.leave[name] == f.life[name] }

func (w *world) listen(id int32) {
	p := &w.procs[id]
	p.listening = true
	w.folder.listener[p.name], w.folder.socketFile[p.name] = id, true
}

// heal is the look at the socket file, and for a stop, that a member takes from time to
// time.
func (w *world) heal(id int32) {
	p := &w.procs[id]
	if w.folder.listener[p.name] == id {
		w.folder.socketFile[p.name] = true
	}
	if w.folder.stop && w.now >= w.folder.awayUntil && p.kind == member {
		w.later(id, protocol.LookAsked{})
	}
	w.push(item{at: w.now + nameCheck, kind: itemHeal, p: id})
}

// read takes a survey in two steps, since a folder is not read in one instant: the
// lock first, the goodbyes after it (a goodbye that was stored before the lock
// became free is seen).
func (w *world) read(it item) {
	name := 1 - w.procs[it.p].name
	switch e := it.event.(type) {
	case protocol.Begun:
		w.readStep(&e.Survey, it, name)
		it.event = e
	case protocol.Surveyed:
		w.readStep(&e.Survey, it, name)
		it.event = e
	}
	it.at = w.now + w.delay()
	r := w.procs[it.p].readingOf(it.event)
	if (it.x == 0) != (w.broken == goodbyeReadBeforeLock) {
		r.lock = w.now
	}
	if it.x++; it.x == 2 {
		r.end = w.now
		it.kind = itemDeliver
		if _, begins := it.event.(protocol.Begun); begins {
			w.begin(it.p)
			w.step(it.p, it.event)
			return
		}
	}
	w.push(it)
}

func (p *process) readingOf(e protocol.Event) *reading {
	if s, ok := e.(protocol.Surveyed); ok {
		return &p.reads[s.Token%8]
	}
	return &p.reads[0]
}

func (w *world) readStep(s *protocol.Survey, it item, name int) {
	f := &w.folder
	if w.now < f.awayUntil {
		s.Err = "permission denied"
	}
	if (it.x == 0) != (w.broken == goodbyeReadBeforeLock) {
		if h := f.lock[name]; h >= 0 {
			s.Holder = handleOf(h)
		}
		w.resolveIntent(it.p, name)
		if r := f.recorded[name]; r >= 0 && w.procs[r].state != dead {
			s.Recorded = handleOf(r)
		}
		return
	}
	now := f.goodbyes(w, name)
	if w.broken == goodbyeReadBeforeFence {
		p := &w.procs[it.p]
		now, p.survey = p.survey, now
	}
	s.Stopped, s.StopReason, s.PeerLeft, s.HeldFor, s.Generation = now.Stopped, now.StopReason, now.PeerLeft, now.HeldFor, now.Generation
	s.Speaks = s.Generation > 0 // everybody here is a member
}

// resolveIntent finds, by the token that it carries, what another guard had started
// when it died before it could record that.
func (w *world) resolveIntent(reader int32, name int) {
	f := &w.folder
	if i := f.intent[name]; i >= 0 && f.intentOf[name] != reader && w.broken != intentNotResolved {
		f.recorded[name], f.intent[name] = i, -1
	}
}

func (f *folder) goodbyes(w *world, name int) (s protocol.Survey) {
	s.Stopped, s.StopReason = f.stop && w.broken != stopNotRead || w.broken == stopNeverOver && f.stopAt > 0, "stop"
	s.Generation = f.life[name]
	s.PeerLeft = f.left(name) || w.broken == leaveCountsForAnyLife && f.leave[name] != 0
	if until := f.holdUntil[name]; until > w.boottime() && w.broken != holdIgnored {
		s.HeldFor = until - w.boottime()
	}
	return s
}

// store is the rename of a goodbye: the instant of leaving.
func (w *world) store(it item) {
	p, e := &w.procs[it.p], it.event.(protocol.GoodbyeStored)
	switch {
	case w.now < w.folder.awayUntil || w.chance(w.faults.StoreFails):
		e.Err = "no space left"
		w.check.notStored(w, it.p)
	case w.broken == goodbyeNotStored:
	case e.Kind == wire.Stop:
		w.storeStop()
	default:
		w.folder.leave[p.name], w.folder.leftAt[p.name] = p.generation, w.now
	}
	if e.Err == "" {
		w.check.saidGoodbye(w, it.p, e.Kind)
	}
	w.later(it.p, e)
}

func (w *world) storeStop() {
	w.folder.stop, w.folder.stopAt = true, w.now
	w.tellWorld("the stop is stored")
	w.check.stopStored(w)
}

func (f *folder) everHeld(name int) bool { return f.holdAt[name] > 0 }
