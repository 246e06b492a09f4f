package supervisors

import (
	"time"

	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/lifecycle"
)

// charge is a program in the hands of the active one.
type charge struct {
	s      *supervisor
	key    string
	life   *lifecycle.Machine
	policy lifecycle.Policy

	definition uint64 // which command it runs
	mark       uint64 // of the newest intent

	proc *program // a handle on its process; nil: none
	log  *file
	pipe bool // its output pipe is open
	id   uint64

	waits    bool // it is not begun: what its record does not know of is ended first
	splicing bool
	rotating bool
}

// open opens pipe and log by their names.
func (c *charge) open() {
	c.s.w.pipe(c.key)
	c.pipe, c.log = true, c.s.w.kernel.logs[c.key].newest()
}

// durable is somebody who waits until a successor would know.
type durable struct {
	id        uint64
	alone     bool // there is no standby: the disk decides
	tried, ok bool // the disk
	then      func(ok bool)
}

func (d *durable) settle() {
	if d.then != nil && d.alone && d.tried {
		then := d.then
		d.then = nil
		then(d.ok)
	}
}

func (d *durable) held() {
	if then := d.then; then != nil {
		d.then = nil
		then(true)
	}
}

// submit gives the present state of a charge to disk and standby; then, if not nil, hears whether a successor knows it.
func (c *charge) submit(then func(ok bool)) {
	s := c.s
	c.id = s.w.newBody(body{policy: c.policy, definition: c.definition, mark: c.mark, record: c.life.Record(), proc: c.proc})
	s.put(c.key, c.id, then)
}

func (s *supervisor) put(key string, id uint64, then func(ok bool)) {
	s.w.check.submitted(s, key, id)
	var d *durable
	var ticket uint64
	if then != nil {
		d = &durable{id: id, then: then}
		s.ticket++
		ticket = s.ticket
		s.tickets[ticket] = func(held bool) {
			if held {
				d.held()
				return
			}
			d.alone = true
			d.settle()
		}
	}
	s.store(key, id, d)
	s.step(custody.Submit{Item: item64(key, id, s.w.bodies[id].gone), Ticket: ticket})
}

// store is how one key comes to disk: one write at a time, the newest next.
type store struct {
	want    uint64
	writing bool
	waiting []*durable
}

func (s *supervisor) store(key string, id uint64, d *durable) {
	t := s.stores[key]
	if t == nil {
		t = &store{}
		s.stores[key] = t
	}
	t.want = id
	if d != nil {
		t.waiting = append(t.waiting, d)
	}
	s.write(key, t)
}

func (s *supervisor) write(key string, t *store) {
	if t.writing {
		return
	}
	t.writing = true
	id := t.want
	s.w.write(s, key, id, func(ok bool) {
		t.writing = false
		waiting := t.waiting
		t.waiting = nil
		for _, d := range waiting {
			if d.id > id {
				t.waiting = append(t.waiting, d)
				continue
			}
			d.tried, d.ok = true, ok
			d.settle()
		}
		switch {
		case t.want != id:
			s.write(key, t)
		case !ok:
			s.w.after(50*time.Millisecond, func() { s.event(func() { s.write(key, t) }) })
		}
	})
}

// live tells a lifecycle something. A record that changed is on its way before the actions are done; answer, if not nil, hears
// whether a successor would know it.
func (s *supervisor) live(c *charge, e lifecycle.Event, answer func(ok bool)) {
	if s.charges[c.key] != c {
		return
	}
	before := c.life.Record()
	actions := c.life.Step(s.w.now, e)
	after := c.life.Record()
	if s.w.trace != nil {
		s.w.tell("S%d %s: %T %+v [%s %s %d] -> %s", s.id, c.key, e, e, after.State, after.Phase, after.Generation, lifeText(actions))
	}
	var do []func()
	intent := false
	for _, a := range actions {
		if _, is := a.(lifecycle.KeepIntent); is {
			intent = true
			continue
		}
		do = append(do, func() { s.lifeDoes(c, a) })
	}
	submit := func() { c.submit(answer) }
	if intent {
		submit = s.intend(c, after.Generation, answer)
	}
	if after != before || answer != nil || intent {
		do = append([]func(){submit}, do...)
	}
	s.first(do...)
	s.turnSoon()
	s.setTimer()
}

// intend keeps an intent before the fork.
func (s *supervisor) intend(c *charge, gen uint64, answer func(ok bool)) func() {
	c.proc, c.mark = nil, s.w.random.Uint64()
	kept := func(ok bool) {
		if answer != nil {
			answer(ok)
		}
		if ok {
			s.live(c, lifecycle.IntentKept{Gen: gen}, nil)
			return
		}
		s.live(c, lifecycle.IntentFailed{Gen: gen, Reason: "the disk is full"}, nil)
	}
	switch s.w.broken {
	case intentNotStored:
		return func() { kept(true) }
	case ackIgnored:
		return func() {
			c.submit(nil)
			s.first(func() { kept(true) })
		}
	}
	return func() { c.submit(kept) }
}

func (s *supervisor) lifeDoes(c *charge, a lifecycle.Action) {
	w := s.w
	switch a := a.(type) {
	case lifecycle.Fork:
		w.check.forks(w, c.key)
		w.fork(s, c.key, a.Gen, c.mark, func(p *program, ok bool) { s.event(func() { s.forked(c, p, ok) }) })
	case lifecycle.Resolve:
		s.resolve(c, a.Gen)
	case lifecycle.Signal:
		w.check.ends(w, c)
		w.signal(c.proc)
		s.first(func() { s.live(c, lifecycle.Signaled{Gen: a.Gen}, nil) })
	case lifecycle.Kill:
		w.check.ends(w, c)
		w.killProgram(c.proc)
	case lifecycle.EndTree:
		gone := func() { s.event(func() { s.live(c, lifecycle.TreeGone(a), nil) }) }
		if w.broken == treeNotAwaited {
			w.clearTree(c.key, c.mark, func() {})
			gone()
			return
		}
		w.clearTree(c.key, c.mark, gone)
	}
}

func (s *supervisor) forked(c *charge, p *program, ok bool) {
	if !ok {
		s.live(c, lifecycle.StartFailed{Gen: p.gen, Reason: "exec"}, nil)
		return
	}
	c.proc = p
	s.live(c, lifecycle.Started{Gen: p.gen}, nil)
	if p.vital == over {
		s.programEnded(p)
	}
}

// programEnded: a handle tells a death to the active one.
func (s *supervisor) programEnded(p *program) {
	c := s.charges[p.key]
	if c == nil || c.proc != p || !s.acting {
		return
	}
	known := p.parent == s || s.w.random.IntN(3) > 0
	s.w.after(s.w.some(2*time.Millisecond), func() {
		s.event(func() {
			if c.proc == p {
				alone := !p.tree || s.w.broken == treeNotAwaited
				s.live(c, lifecycle.Ended{Gen: p.gen, Exit: lifecycle.Exit{Known: known, Code: p.code}, TreeGone: alone}, nil)
			}
		})
	})
}

// resolve finds out what became of a start that the dead one had in hand.
func (s *supervisor) resolve(c *charge, gen uint64) {
	w := s.w
	look := func() {
		w.after(w.some(3*time.Millisecond), func() {
			s.event(func() {
				r := lifecycle.Resolved{Gen: gen}
				for _, p := range w.kernel.programs[c.key] {
					if p.mark != c.mark {
						continue
					}
					r.Ran = r.Ran || p.vital == over && p.ran && (p.tree || p.traced)
					if p.vital == running {
						c.proc, r.Found = p, true
					}
				}
				r.Ran = r.Ran && !r.Found
				s.live(c, r, nil)
				if r.Found && c.proc.vital == over {
					s.programEnded(c.proc)
				}
			})
		})
	}
	if s.settled {
		look()
		return
	}
	w.awaitBirths(look)
}

// signal asks a process to end; some do not, some take long.
func (w *world) signal(p *program) {
	if p == nil || p.vital != running || !p.polite {
		return
	}
	d := w.some(20 * time.Millisecond)
	if w.random.IntN(4) == 0 {
		d = w.some(2 * time.Second)
	}
	w.after(d, func() { w.end(p, 0) })
}

func (w *world) killProgram(p *program) {
	if p != nil {
		w.after(w.some(5*time.Millisecond), func() { w.end(p, 137) })
	}
}
