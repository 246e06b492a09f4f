package supervisors

import (
	"slices"
	"time"

	"github.com/pairguard/pairguard/internal/custody"
)

// supervisor is one process: it does one small thing after another.
type supervisor struct {
	w      *world
	id     int
	slot   int
	alive  bool
	closed bool // dead, and its descriptors are closed
	gone   bool // proved dead
	hung   bool
	begun  bool

	inbox   []func() // what happened and was not looked at yet
	lead    int      // how many of todo the present thing has put there
	todo    []func() // the small things that follow from what was looked at, in order
	turning bool
	later   []func() // what came while it stood still

	custody custody.Machine
	timer   time.Duration

	// As the standby.
	link  *link
	given map[string]given
	whole bool // the snapshot is done

	// As the active one.
	acting   bool
	settled  bool // the births of the one before
	charges  map[string]*charge
	stores   map[string]*store
	tickets  map[uint64]func(held bool)
	ticket   uint64
	adopting int  // programs of the disk that are not begun yet
	ready    bool // it has everything open that there is, as the active one or as the standby
}

// spawn makes a supervisor, which begins a little later.
func (w *world) spawn(slot int) {
	if w.slots[slot] != nil {
		return
	}
	w.made++
	s := &supervisor{
		w: w, id: w.made, slot: slot, alive: true, custody: *custody.New(), timer: -1,
		charges: map[string]*charge{}, stores: map[string]*store{}, tickets: map[uint64]func(bool){},
	}
	w.slots[slot] = s
	w.tell("S%d is started as supervisor.%d", s.id, slot+1)
	w.after(3*time.Millisecond+w.some(20*time.Millisecond), func() { s.event(s.begin) })
}

func (s *supervisor) begin() {
	peer := s.w.slots[1-s.slot]
	s.begun = true
	s.step(custody.Begin{Junior: peer != nil && s.w.broken != juniorClaims})
	if peer == nil {
		s.reviveLater(1-s.slot, 300*time.Millisecond)
	}
}

// event reaches the process when it has time for it.
func (s *supervisor) event(do func()) {
	if s.alive {
		s.inbox = append(s.inbox, do)
		s.turnSoon()
	}
}

// first puts small things before all others that are to be done, behind those that the present one has put there already.
func (s *supervisor) first(do ...func()) {
	s.todo = slices.Insert(s.todo, s.lead, do...)
	s.lead += len(do)
}

func (s *supervisor) turnSoon() {
	if s.turning || !s.alive || s.hung || len(s.inbox)+len(s.todo) == 0 {
		return
	}
	s.turning = true
	s.w.after(time.Microsecond+s.w.some(30*time.Microsecond), s.turn)
}

func (s *supervisor) turn() {
	s.turning = false
	if !s.alive || s.hung {
		return
	}
	from := &s.todo
	if len(s.todo) == 0 {
		from = &s.inbox
	}
	do := (*from)[0]
	*from = (*from)[1:]
	s.lead = 0
	do()
	s.w.check.look(s.w, s)
	if s.alive && !s.w.calm && s.w.plan.instant > 0 && s.w.chance(s.w.plan.instant) {
		s.w.kill(s, "at that instant")
	}
	s.turnSoon()
}

// standStill is SIGSTOP; the library of the other one judges it hung and ends it.
func (s *supervisor) standStill(d time.Duration) {
	if !s.alive || s.hung {
		return
	}
	s.hung = true
	s.w.tell("S%d stands still", s.id)
	s.w.after(d, s.goOn)
	s.judgeLater()
}

func (s *supervisor) goOn() {
	if !s.alive || !s.hung {
		return
	}
	s.hung = false
	s.w.tell("S%d goes on", s.id)
	later := s.later
	s.later = nil
	for _, do := range later {
		do()
	}
	if s.link != nil {
		s.link.flush()
	}
	s.turnSoon()
}

func (s *supervisor) judgeLater() {
	s.w.after(2900*time.Millisecond, func() {
		peer := s.w.slots[1-s.slot]
		switch {
		case !s.alive || !s.hung:
		case peer == nil || !peer.alive || peer.hung || !peer.begun:
			s.judgeLater()
		default:
			s.w.kill(s, "judged hung")
		}
	})
}

// kill -9. A system call under way is finished; then descriptors are closed and the lock is freed in any order; the proof comes last.
func (w *world) kill(s *supervisor, why string) {
	if s == nil || !s.alive {
		return
	}
	s.alive = false
	s.inbox, s.todo, s.later, s.lead = nil, nil, nil, 0
	w.check.counts.Kills++
	w.tell("S%d dies, %s", s.id, why)
	w.check.died(w, s)
	d := 400*time.Microsecond + w.some(2*time.Millisecond)
	if w.random.IntN(10) == 0 {
		d += w.some(150 * time.Millisecond)
	}
	w.after(300*time.Microsecond+w.some(d-300*time.Microsecond), func() {
		s.closed = true
		w.closeLinks(s)
		for key := range w.kernel.pipes {
			w.drop(key)
		}
	})
	w.after(300*time.Microsecond+w.some(d-300*time.Microsecond), func() {
		if w.holder == s {
			w.holder = nil
		}
	})
	w.after(d, func() { w.proved(s) })
}

// proved: whoever holds a handle on it hears of its death.
func (w *world) proved(s *supervisor) {
	s.gone = true
	w.slots[s.slot] = nil
	peer := w.slots[1-s.slot]
	if peer == nil || !peer.alive {
		w.check.nobody(w)
		return
	}
	if l := peer.link; l != nil {
		switch s {
		case l.active:
			l.activeGone()
		case l.standby:
			peer.event(func() {
				if peer.link == l {
					peer.link = nil
					peer.step(custody.StandbyLost{})
				}
			})
		}
	}
	peer.event(func() {
		if peer.begun {
			peer.step(custody.Senior{})
		}
	})
	peer.reviveLater(s.slot, 15*time.Millisecond)
}

// reviveLater is what the library does about a peer that is proved dead, or was never there.
func (s *supervisor) reviveLater(slot int, within time.Duration) {
	s.w.after(time.Millisecond+s.w.some(within), func() {
		switch {
		case !s.alive:
		case s.hung || !s.begun:
			s.reviveLater(slot, within)
		default:
			s.w.spawn(slot)
		}
	})
}
