package supervisors

import (
	"time"

	"github.com/pairguard/pairguard/internal/lifecycle"
)

// policies are those that programs are defined with.
var policies = [4]lifecycle.Policy{
	{Restart: lifecycle.Always, Backoff: 200 * time.Millisecond, BackoffMax: 2 * time.Second, Stable: time.Second, Grace: time.Second},
	{Restart: lifecycle.Always, Backoff: 50 * time.Millisecond, BackoffMax: 500 * time.Millisecond, Stable: 5 * time.Second, Grace: 500 * time.Millisecond},
	{Restart: lifecycle.OnFailure, Backoff: 100 * time.Millisecond, BackoffMax: time.Second, Stable: time.Second, Grace: time.Second},
	{Restart: lifecycle.Never, Backoff: 100 * time.Millisecond, BackoffMax: time.Second, Stable: time.Second, Grace: time.Second},
}

// client is whoever has wishes about one program. It has one wish at a time, and repeats it until it is answered, unless it vanishes.
type client struct {
	w      *world
	key    string
	policy lifecycle.Policy
	wishes []happening
	busy   bool
	gen    uint64 // that the restart names
}

func (c *client) wish(h happening) {
	c.wishes = append(c.wishes, h)
	c.next()
}

func (c *client) next() {
	if c.busy || len(c.wishes) == 0 {
		return
	}
	c.busy = true
	h := c.wishes[0]
	c.wishes = c.wishes[1:]
	c.gen = 0
	c.w.check.asked(c.w, c.key, h.deed)
	c.try(h)
}

// try asks the active one, and asks again when there is none or when it died meanwhile.
func (c *client) try(h happening) {
	w := c.w
	s := w.serving()
	if s == nil {
		w.after(20*time.Millisecond, func() { c.try(h) })
		return
	}
	answered := false
	answer := func(ok bool) {
		if answered || h.vanishes || !s.alive {
			return
		}
		answered = true
		w.after(w.some(time.Millisecond), func() { c.answered(h, ok) })
	}
	w.after(w.some(time.Millisecond), func() { s.event(func() { s.asked(c, h, answer) }) })
	if h.vanishes {
		w.after(2*time.Millisecond+w.some(5*time.Millisecond), func() {
			c.busy = false
			c.next()
		})
		return
	}
	c.watch(s, h, &answered)
}

func (c *client) watch(s *supervisor, h happening, answered *bool) {
	c.w.after(50*time.Millisecond, func() {
		switch {
		case *answered:
		case !s.alive:
			c.try(h)
		default:
			c.watch(s, h, answered)
		}
	})
}

func (c *client) answered(h happening, ok bool) {
	if ok {
		c.w.check.answered(c.w, c.key, h.deed)
	}
	c.busy = false
	c.next()
}

// serving is the active one, if it answers.
func (w *world) serving() *supervisor {
	for _, s := range w.slots {
		if s != nil && s.alive && s.acting && s.ready && !s.hung {
			return s
		}
	}
	return nil
}

// asked is the handler of a request.
func (s *supervisor) asked(from *client, h happening, answer func(ok bool)) {
	if !s.ready {
		return // it took over in between and reads the disk yet; the client asks again when it dies
	}
	if s.w.broken == answerBeforeAck {
		answer(true)
	}
	c := s.charges[from.key]
	switch {
	case c != nil && c.waits:
		s.w.after(time.Millisecond, func() { s.event(func() { s.asked(from, h, answer) }) })
	case c != nil:
		s.grant(from, c, h, answer)
	case h.deed != askStart:
		answer(false) // no such program
	default:
		s.define(from, func(c *charge) { s.grant(from, c, h, answer) })
	}
}

// grant does what is asked.
func (s *supervisor) grant(from *client, c *charge, h happening, answer func(ok bool)) {
	r := c.life.Record()
	switch h.deed {
	case askStart:
		s.live(c, lifecycle.Start{}, answer)
	case askStop, askStopNow:
		s.live(c, lifecycle.Stop{Now: h.deed == askStopNow}, answer)
	case askRestart:
		if from.gen == 0 {
			from.gen = r.Generation
		}
		gen := from.gen
		if s.w.broken == generationIgnored {
			gen = 0
		}
		s.live(c, lifecycle.Restart{Gen: gen}, answer)
	case askHold:
		s.live(c, lifecycle.Hold{For: h.lasts}, answer)
	case askUnhold:
		s.live(c, lifecycle.Unhold{}, answer)
	case askRedefine, askRedefinePolicy:
		changed := h.deed == askRedefine && c.definition != h.number
		if changed {
			c.definition = h.number
		}
		c.policy = policies[h.number%4]
		s.live(c, lifecycle.Redefine{Policy: c.policy, Changed: changed}, answer)
	case askForget:
		s.forget(c, r, answer)
	}
}

// define begins with a program that is not known. When both supervisors have died and the disk was full, some of it may live.
func (s *supervisor) define(from *client, then func(*charge)) {
	c := &charge{s: s, key: from.key, life: lifecycle.New(from.policy, s.w.random.Float64), policy: from.policy, waits: true}
	s.charges[from.key] = c
	c.open()
	var begin lifecycle.Begin
	found := s.find(c, &begin)
	s.w.clearLeftovers(c.key, 0, markOf(found), func() {
		s.event(func() {
			c.waits = false
			if found != nil {
				c.proc, c.mark = found, found.mark
				s.goOnWith(c, begin)
			}
			s.pump(c.key)
			then(c)
		})
	})
}

// forget drops a program that nobody wants and that is not there.
func (s *supervisor) forget(c *charge, r lifecycle.Record, answer func(ok bool)) {
	if r.Live() || len(s.w.pipe(c.key).lines) > 0 || c.splicing || c.rotating {
		answer(false) // it has to be stopped first
		return
	}
	s.w.check.forgotten(c.key)
	delete(s.charges, c.key)
	s.put(c.key, s.w.newBody(body{gone: true}), answer)
}
