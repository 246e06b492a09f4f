package supervisors

import (
	"time"

	"github.com/pairguard/pairguard/internal/custody"
)

// given is what the standby holds of one key.
type given struct {
	id  uint64
	fds descriptors
}

// descriptors are those of one program.
type descriptors struct {
	pipe bool
	log  *file
	proc *program // a handle; nil: none
}

// message is a record on the custody link.
type message struct {
	seq uint64
	key string
	given
	end bool // of the snapshot
}

// linkRoom is how many messages the kernel takes before the sender has to wait.
const linkRoom = 2

// link is one custody link. What the kernel has taken is read by the standby also when the active one is dead; the outbox dies with it.
type link struct {
	w               *world
	active, standby *supervisor
	kernel, outbox  []message
	closed          bool // nothing more is sent
	dead            bool // the active one is proved dead
	told            bool // the standby knows that nothing more comes
	reading         bool
}

// dial connects to whoever is active.
func (s *supervisor) dial() {
	w := s.w
	if l := s.link; l != nil {
		s.link = nil
		l.close()
		l.told = true
	}
	s.given, s.whole, s.ready = nil, false, false
	for key := range w.kernel.pipes {
		w.drop(key)
	}
	w.after(50*time.Microsecond+w.some(time.Millisecond), func() {
		active := w.slots[1-s.slot]
		if !s.alive {
			return
		}
		if active == nil || !active.alive || !active.acting {
			s.event(func() { s.step(custody.LinkEnded{}) })
			return
		}
		l := &link{w: w, active: active, standby: s}
		s.event(func() {
			s.link, s.given = l, map[string]given{}
			s.step(custody.Linked{})
			if active.gone {
				l.activeGone()
			}
			l.readSoon()
		})
		active.event(func() {
			if old := active.link; old != nil {
				old.close()
			}
			active.link = l
			active.step(custody.StandbyJoined{})
			if l.closed { // it ended before it was looked at
				active.step(custody.StandbyCut{})
			}
			if s.gone && active.link == l {
				active.link = nil
				active.step(custody.StandbyLost{})
			}
		})
	})
}

// send is what Give and EndSnapshot do.
func (s *supervisor) send(m message) {
	if l := s.link; l != nil && !l.closed {
		l.outbox = append(l.outbox, m)
		l.flush()
	}
	if s.w.broken == guardedLies {
		s.step(custody.Acked{Seq: m.seq})
	}
}

func (l *link) flush() {
	for l.active.alive && !l.active.hung && !l.closed && len(l.outbox) > 0 && len(l.kernel) < linkRoom {
		l.kernel, l.outbox = append(l.kernel, l.outbox[0]), l.outbox[1:]
	}
	l.readSoon()
}

func (l *link) readSoon() {
	if l.reading || l.told || l.standby.link != l || len(l.kernel) == 0 && !l.closed && !l.dead {
		return
	}
	l.reading = true
	d := 20*time.Microsecond + l.w.some(200*time.Microsecond)
	if l.w.random.IntN(10) == 0 {
		d += l.w.some(10 * time.Millisecond)
	}
	l.w.after(d, l.read)
}

func (l *link) read() {
	s := l.standby
	if !s.alive || s.link != l {
		return
	}
	if s.hung {
		s.later = append(s.later, func() { l.read() })
		return
	}
	l.reading = false
	if l.w.broken == linkNotDrained && (l.closed || l.dead) {
		l.kernel = nil
	}
	if len(l.kernel) == 0 {
		if l.closed || l.dead {
			l.told = true
			s.event(func() {
				if s.link == l {
					s.step(custody.LinkEnded{})
					if l.w.broken == endTakenForDeath || l.w.broken == neitherLockNorProof {
						s.step(custody.ActiveEnded{})
					}
				}
			})
		}
		return
	}
	m := l.kernel[0]
	l.kernel = l.kernel[1:]
	l.flush()
	s.event(func() { s.receive(l, m) })
	l.readSoon()
}

func (s *supervisor) receive(l *link, m message) {
	if s.link != l {
		return
	}
	if m.end {
		s.whole, s.ready = true, true
		s.step(custody.SnapshotDone{Seq: m.seq})
		return
	}
	b := s.w.bodies[m.id]
	s.given[m.key] = m.given
	if b.gone {
		delete(s.given, m.key)
	}
	s.w.drop(m.key)
	s.step(custody.Given{Seq: m.seq, Item: item64(m.key, m.id, b.gone)})
	if s.w.broken == twoReaders {
		s.w.readable(m.key)
	}
}

// acknowledge is what Ack does.
func (s *supervisor) acknowledge(seq uint64) {
	l := s.link
	if l == nil {
		return
	}
	s.w.after(20*time.Microsecond+s.w.some(300*time.Microsecond), func() {
		if !l.closed {
			l.active.event(func() {
				if l.active.link == l {
					l.active.step(custody.Acked{Seq: seq})
				}
			})
		}
	})
}

// close ends a link at both ends.
func (l *link) close() {
	if l.closed {
		return
	}
	l.closed, l.outbox = true, nil
	l.readSoon()
	active := l.active
	active.event(func() {
		if active.link != l {
			return
		}
		if l.w.broken == cutTakenForDeath {
			active.link = nil
			active.step(custody.StandbyLost{})
			return
		}
		active.step(custody.StandbyCut{})
	})
}

// activeGone: the handle of the active one tells its death.
func (l *link) activeGone() {
	s := l.standby
	s.event(func() {
		if s.link == l {
			s.step(custody.ActiveEnded{})
		}
	})
	l.dead = true
	l.readSoon()
}

func (w *world) closeLinks(s *supervisor) {
	for _, x := range []*supervisor{s, w.slots[0], w.slots[1]} {
		if x != nil && x.link != nil && (x.link.active == s || x.link.standby == s) {
			x.link.close()
		}
	}
}
