package supervisors

import "time"

// readable: there is something in the pipe of a key; whoever reads it begins to.
func (w *world) readable(key string) {
	for _, s := range w.slots {
		if s == nil {
			continue
		}
		s.pump(key)
		if w.broken == twoReaders && s.given != nil && s.given[key].fds.pipe && !s.acting {
			g := s.given[key]
			w.after(w.some(50*time.Microsecond), func() {
				if s.alive && !s.hung {
					w.splice(key, g.fds.log, func() {})
				}
			})
		}
	}
}

// pump moves what is in the pipe to the log, as the active one does when it has time.
func (s *supervisor) pump(key string) {
	c := s.charges[key]
	if c == nil || !c.pipe || c.splicing || c.rotating || c.waits {
		return
	}
	c.splicing = true
	s.event(func() {
		if s.charges[key] != c || c.rotating {
			c.splicing = false
			return
		}
		if len(c.log.lines) >= logRoom+s.w.random.IntN(logRoom) {
			c.splicing = false
			s.rotate(c)
			return
		}
		s.w.splice(key, c.log, func() {
			s.event(func() {
				c.splicing = false
				if len(s.w.pipe(key).lines) > 0 {
					s.pump(key)
				}
			})
		})
	})
}

// splice is one system call: what it has taken from the pipe comes into the file, whoever dies meanwhile.
func (w *world) splice(key string, to *file, done func()) {
	q := w.pipe(key)
	n := min(len(q.lines), 1+w.random.IntN(8))
	taken := append([]int(nil), q.lines[:n]...)
	q.lines = q.lines[n:]
	if n == 0 {
		done()
		return
	}
	w.after(time.Microsecond+w.some(250*time.Microsecond), func() {
		to.lines = append(to.lines, taken...)
		w.check.wrote(w, key, taken)
		done()
	})
}

// rotate makes a new log. Nothing is written to it before the standby has it.
func (s *supervisor) rotate(c *charge) {
	c.rotating = true
	s.w.check.counts.Rotations++
	s.first(func() {
		l := s.w.kernel.logs[c.key]
		fresh := &file{}
		l.files = append(l.files, fresh)
		s.first(func() {
			c.log = fresh
			goOn := func(bool) {
				c.rotating = false
				s.pump(c.key)
			}
			if s.w.broken == rotationNotAcked {
				c.submit(nil)
				goOn(true)
				return
			}
			c.submit(goOn)
		})
	})
	s.turnSoon()
}
