package supervisors

import (
	"encoding/binary"
	"time"

	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/lifecycle"
)

// body is what the bytes of an item stand for, on the link and on disk.
type body struct {
	gone   bool
	policy lifecycle.Policy

	definition uint64
	mark       uint64

	record lifecycle.Record
	proc   *program // its process, by ID
}

func (w *world) newBody(b body) uint64 {
	w.bodies = append(w.bodies, b)
	return uint64(len(w.bodies) - 1)
}

func item64(key string, id uint64, gone bool) custody.Item {
	return custody.Item{Key: key, Body: binary.LittleEndian.AppendUint64(nil, id), Gone: gone}
}

func itemID(it custody.Item) uint64 { return binary.LittleEndian.Uint64(it.Body) }

// step tells custody something and lines up what it wants done, before everything that was to be done already.
func (s *supervisor) step(e custody.Event) {
	actions := s.custody.Step(s.w.now, e)
	if s.w.trace != nil {
		s.w.tell("S%d %T %s -> %s", s.id, e, s.custody.Role(), custodyText(actions))
	}
	do := make([]func(), len(actions))
	for i, a := range actions {
		do[i] = func() { s.custodyDoes(a) }
	}
	s.first(do...)
	s.turnSoon()
	s.setTimer()
}

// setTimer makes sure that Tick comes at the nearest deadline.
func (s *supervisor) setTimer() {
	at, any := s.custody.Deadline()
	for _, c := range s.charges {
		if c.waits {
			continue
		}
		if t, has := c.life.Deadline(); has && (!any || t < at) {
			at, any = t, true
		}
	}
	if !any || s.timer >= 0 && s.timer <= at && s.timer > s.w.now {
		return
	}
	s.timer = at
	s.w.after(max(at-s.w.now, 0), func() {
		if s.timer == at {
			s.event(s.tick)
		}
	})
}

func (s *supervisor) tick() {
	s.timer = -1
	if at, any := s.custody.Deadline(); any && at <= s.w.now {
		s.step(custody.Tick{})
	}
	for _, key := range s.keys() {
		c := s.charges[key]
		if at, any := c.life.Deadline(); any && at <= s.w.now && !c.waits {
			s.live(c, lifecycle.Tick{}, nil)
		}
	}
	s.setTimer()
}

// keys are those of the charges, in a fixed order.
func (s *supervisor) keys() (keys []string) {
	for k := range s.w.plan.programs {
		if s.charges[keyName(k)] != nil {
			keys = append(keys, keyName(k))
		}
	}
	return keys
}

func (s *supervisor) custodyDoes(a custody.Action) {
	w := s.w
	switch a := a.(type) {
	case custody.Claim:
		s.claim()
	case custody.Dial:
		s.dial()
	case custody.AwaitBirths:
		w.awaitBirths(func() { s.event(func() { s.step(custody.BirthsSettled{}) }) })
	case custody.Ack:
		s.acknowledge(a.Seq)
	case custody.Act:
		s.act(a)
	case custody.Give:
		s.send(message{seq: a.Seq, key: a.Item.Key, given: given{itemID(a.Item), s.descriptors(a.Item.Key)}})
	case custody.EndSnapshot:
		s.send(message{seq: a.Seq, end: true})
	case custody.Release:
		if then := s.tickets[a.Ticket]; then != nil {
			delete(s.tickets, a.Ticket)
			then(a.Held)
		}
	case custody.Fence:
		if s.link != nil {
			w.check.counts.Fences++
			w.kill(s.link.standby, "fenced by the active one")
		}
	}
}

// claim takes the lock, if it is free. A child of a dead holder between fork and exec can keep it from being had.
func (s *supervisor) claim() {
	w := s.w
	var answer custody.Event
	switch {
	case (w.broken == lockNotExclusive || w.broken == neitherLockNorProof) && w.random.IntN(4) == 0, w.holder == nil && (!w.birthsOpen() || w.random.IntN(2) == 0):
		w.holder = s
		answer = custody.Claimed{}
	case w.holder != nil && w.holder.alive:
		answer = custody.Taken{}
	default:
		answer = custody.ClaimFailed{}
	}
	w.after(w.some(100*time.Microsecond), func() { s.event(func() { s.step(answer) }) })
}

// act begins to be the active one, with what the one who died had handed over, and with the disk if that is not all.
func (s *supervisor) act(a custody.Act) {
	w := s.w
	s.acting, s.settled = true, a.Settled
	w.tell("S%d is the active one: %d items, complete %v", s.id, len(a.Copy), a.Complete)
	w.check.acts(w, s)
	known := map[string]bool{}
	var do []func()
	for _, it := range a.Copy {
		known[it.Key] = true
		if !it.Gone {
			do = append(do, func() { s.inherit(it.Key, s.given[it.Key]) })
		}
	}
	s.link = nil
	do = append(do, func() { s.given = nil })
	if a.Complete {
		w.check.counts.Takeovers++
		do = append(do, func() { s.ready = true })
	} else {
		w.check.counts.FromDisk++
		if w.broken == loadedTooEarly {
			do = append(do, func() { s.step(custody.Loaded{}) })
		}
		d := w.some(5 * time.Millisecond)
		if w.random.IntN(4) == 0 {
			d = w.some(400 * time.Millisecond)
		}
		do = append(do, func() {
			w.after(d, func() {
				w.awaitBirths(func() { s.event(func() { s.readDisk(known) }) })
			})
		})
	}
	s.first(do...)
}

// inherit goes on with a program of which everything was handed over.
func (s *supervisor) inherit(key string, g given) {
	b := s.w.bodies[g.id]
	c := &charge{s: s, key: key, life: lifecycle.Restore(b.policy, b.record, s.w.random.Float64), policy: b.policy, definition: b.definition, mark: b.mark, proc: g.fds.proc, log: g.fds.log, pipe: g.fds.pipe}
	s.charges[key] = c
	if !c.pipe { // it was not handed over, so it is opened by its name
		c.open()
	}
	c.id = g.id
	s.w.check.inherited(key, g.id)
	s.w.check.submitted(s, key, g.id)
	s.store(key, c.id, nil) // the one who died may not have come to it
	s.first(func() { s.goOnWith(c, lifecycle.Begin{}) })
}

// goOnWith begins the life of a charge in our hands.
func (s *supervisor) goOnWith(c *charge, b lifecycle.Begin) {
	s.live(c, b, nil)
	if p := c.proc; c.life.Record().Phase == lifecycle.Alive && p != nil && p.vital == over {
		s.programEnded(p)
	}
	s.pump(c.key)
}

// readDisk adopts what nobody handed over.
func (s *supervisor) readDisk(known map[string]bool) {
	w := s.w
	var do []func()
	for k := range w.plan.programs {
		key := keyName(k)
		id, stored := w.disk.stored[key]
		if known[key] || !stored || s.charges[key] != nil {
			continue
		}
		do = append(do, func() { s.adopt(key, id) })
	}
	s.adopting = len(do)
	s.first(do...)
	s.loaded()
}

// ownMark is that of processes that the record still has to do with; 0: there are none.
func ownMark(b body) uint64 {
	if b.record.Phase == lifecycle.Idle {
		return 0
	}
	return b.mark
}

func markOf(p *program) uint64 {
	if p == nil {
		return 0
	}
	return p.mark
}

// loaded: all that the disk had is in our hands.
func (s *supervisor) loaded() {
	if s.adopting == 0 {
		s.ready = true
		s.step(custody.Loaded{})
	}
}

func (s *supervisor) adopt(key string, id uint64) {
	b := s.w.bodies[id]
	s.w.check.adopted(s.w, key, id)
	c := &charge{s: s, key: key, life: lifecycle.Restore(b.policy, b.record, s.w.random.Float64), policy: b.policy, definition: b.definition, mark: b.mark, proc: b.proc, waits: true}
	s.charges[key] = c
	c.open()
	begin := lifecycle.Begin{FromDisk: true}
	found := s.find(c, &begin)
	// Whatever the record does not know of is ended first.
	s.w.clearLeftovers(key, ownMark(b), markOf(found), func() {
		s.event(func() {
			c.waits = false
			if found != nil {
				c.proc, c.mark = found, found.mark
			}
			s.goOnWith(c, begin)
			s.first(func() {
				c.submit(nil)
				s.adopting--
				s.loaded()
			})
		})
	})
}

// find looks for a living main process that the record does not know.
func (s *supervisor) find(c *charge, b *lifecycle.Begin) *program {
	r := c.life.Record()
	p := s.w.alive(c.key)
	if p == nil || s.w.broken == adoptionDoesNotLook || r.Phase == lifecycle.Alive && c.proc == p {
		return nil
	}
	if r.Phase == lifecycle.Birth && c.mark == p.mark {
		return nil // Resolve finds it
	}
	b.Found = p.gen
	return p
}

// descriptors are those that the active one has of a key now.
func (s *supervisor) descriptors(key string) descriptors {
	c := s.charges[key]
	if c == nil {
		return descriptors{}
	}
	d := descriptors{pipe: c.pipe, log: c.log, proc: c.proc}
	if s.w.broken == pipeNotGiven && c.proc == nil {
		d.pipe, d.log = false, nil
	}
	return d
}

// holdsPipe: also what is on its way to a standby is open.
func (s *supervisor) holdsPipe(key string) bool {
	if c := s.charges[key]; c != nil && c.pipe || s.given[key].fds.pipe {
		return true
	}
	if l := s.link; l != nil && l.standby == s {
		for _, m := range l.kernel {
			if m.key == key && m.fds.pipe {
				return true
			}
		}
	}
	return false
}
