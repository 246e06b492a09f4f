package supervisors

import (
	"fmt"
	"time"

	"github.com/pairguard/pairguard/internal/lifecycle"
)

// The promises, as they are called in failures.
const (
	doubled   = "P7 doubled"
	silenced  = "P7 silenced"
	disturbed = "P7 disturbed"
	output    = "P7 output"
	stays     = "stopped stays stopped"
	truth     = "guarded tells the truth"
	single    = "one active"
)

// Failure is a broken promise.
type Failure struct {
	Promise string
	At      time.Duration
	What    string
}

// Counts says what a run was made of.
type Counts struct {
	Steps, Kills, Forks, Takeovers, FromDisk, Rotations, Fences, Wishes, Lines, Excused uint64
}

func (c *Counts) add(d Counts) {
	c.Steps += d.Steps
	c.Kills += d.Kills
	c.Forks += d.Forks
	c.Takeovers += d.Takeovers
	c.FromDisk += d.FromDisk
	c.Rotations += d.Rotations
	c.Fences += d.Fences
	c.Wishes += d.Wishes
	c.Lines += d.Lines
	c.Excused += d.Excused
}

// takeoverBound is how long a takeover may take when a child hangs in exec and keeps what the dead one had open.
const takeoverBound = 9 * time.Second

// want is what people were told of a program.
type want uint8

const (
	unknown want = iota // a wish was not answered
	wantRunning
	wantStopped
)

// fate is what the checker knows of one program.
type fate struct {
	want    want
	credit  int    // so many times somebody asked that a life ends, and none has been ended for it yet; 2 at most
	newest  uint64 // body that any supervisor submitted
	orphan  bool   // since then the active one died without a standby that knew it
	dropped bool   // forgotten, and nobody was told yet
	pending bool   // somebody who asked that a life ends has not been answered
	written int    // the last line in the log
}

type checker struct {
	failure *Failure
	counts  Counts
	fates   map[string]*fate
}

func newChecker() checker { return checker{fates: map[string]*fate{}} }

func (c *checker) of(key string) *fate {
	if c.fates[key] == nil {
		c.fates[key] = &fate{}
	}
	return c.fates[key]
}

func (c *checker) fail(w *world, promise, format string, args ...any) {
	if c.failure == nil {
		c.failure = &Failure{promise, w.now, fmt.Sprintf(format, args...)}
		w.tell("BROKEN %s: %s", promise, c.failure.What)
	}
}

func (c *checker) asked(w *world, key string, d deed) {
	c.counts.Wishes++
	f := c.of(key)
	f.dropped = false
	switch d {
	case askStart:
		f.want = unknown
	case askStop, askStopNow, askRestart:
		f.want, f.credit, f.pending = unknown, min(f.credit+1, 2), true
	case askRedefine:
		f.credit, f.pending = min(f.credit+1, 2), true
	}
	w.tell("---- somebody asks: %s %s", deedNames[d], key)
}

// inherited: a wish that was carried out and not answered may be lost, and is then carried out again.
func (c *checker) inherited(key string, id uint64) {
	if f := c.of(key); f.pending && id != f.newest {
		f.credit = min(f.credit+1, 2)
	}
}

func (c *checker) answered(w *world, key string, d deed) {
	c.of(key).pending = false
	switch d {
	case askStart, askRestart:
		c.of(key).want = wantRunning
	case askStop, askStopNow:
		c.of(key).want = wantStopped
	case askForget:
		if c.of(key).dropped {
			c.of(key).want = wantStopped
		}
	}
	c.of(key).dropped = false
	w.tell("---- and is answered: %s %s", deedNames[d], key)
}

// forgotten: a program is dropped; people are told so later, if at all.
func (c *checker) forgotten(key string) { c.of(key).want, c.of(key).dropped = unknown, true }

// submitted: a supervisor tells disk and standby how it is with a program.
func (c *checker) submitted(_ *supervisor, key string, id uint64) {
	f := c.of(key)
	f.newest, f.orphan = id, false
}

// adopted: after such a death what never came to disk is lost. That is nobody's fault; but it must not double anything.
func (c *checker) adopted(w *world, key string, id uint64) {
	f := c.of(key)
	if f.orphan && id != f.newest {
		c.excuse(w, key)
	}
}

func (c *checker) excuse(w *world, key string) {
	c.counts.Excused++
	w.tell("        the disk does not know the newest of %s", key)
	f := c.of(key)
	f.want, f.credit = unknown, 2
}

// nobody: the disk is all that there is.
func (c *checker) nobody(w *world) {
	for k := range w.plan.programs {
		key := keyName(k)
		f := c.of(key)
		f.orphan = true
		if id, stored := w.disk.stored[key]; !stored || id != f.newest {
			c.excuse(w, key)
		}
	}
}

func (c *checker) forks(w *world, key string) {
	if c.of(key).want == wantStopped {
		c.fail(w, stays, "%s is started though people were told that it is stopped", key)
	}
}

func (c *checker) born(w *world, p *program) {
	for _, q := range w.kernel.programs[p.key] {
		switch {
		case q == p:
		case q.vital == running:
			c.fail(w, doubled, "%s#%d runs while #%d does", p.key, p.number, q.number)
		case q.tree:
			c.fail(w, doubled, "%s#%d runs while the tree of #%d lives", p.key, p.number, q.number)
		}
	}
}

// ends: a supervisor is about to signal or kill a process.
func (c *checker) ends(w *world, x *charge) {
	f := c.of(x.key)
	switch p := x.proc; {
	case p == nil || p.asked || p.vital == over:
	case f.credit == 0:
		c.fail(w, disturbed, "%s#%d is ended and nobody asked for that", x.key, p.number)
	default:
		f.credit, p.asked = f.credit-1, true
	}
}

func (c *checker) acts(w *world, s *supervisor) {
	for _, x := range w.slots {
		if x != nil && x != s && x.alive && x.acting {
			c.fail(w, single, "S%d acts while S%d does", s.id, x.id)
		}
	}
}

// died: a standby that has everything takes over. If there is none, this is a second death before all was whole again: what had not come
// to disk is lost.
func (c *checker) died(w *world, s *supervisor) {
	if !s.acting { // the heir of a dead one, before it acted
		if active, _ := w.roles(); active == nil || !active.acting {
			c.nobody(w)
		}
		return
	}
	if s.link == nil || !s.link.standby.alive || !s.link.standby.whole || s.link.standby.link != s.link {
		c.nobody(w)
		return
	}
	heir := s.link.standby
	if heir.hung {
		return
	}
	w.after(takeoverBound, func() {
		if heir.alive && !heir.acting && !heir.hung && heir.link != nil && heir.link.active == s {
			c.fail(w, silenced, "S%d has not taken over from S%d", heir.id, s.id)
		}
	})
}

// look is called after each small thing that a supervisor does.
func (c *checker) look(w *world, s *supervisor) {
	if !s.acting || !s.alive || s.link == nil || !s.custody.Guarded() {
		return
	}
	heir := s.link.standby
	if !heir.alive || s.link.closed {
		return // it does not know that yet
	}
	if !heir.whole {
		c.fail(w, truth, "guarded, and S%d has no full copy", heir.id)
	}
	for _, key := range s.keys() {
		x, g := s.charges[key], heir.given[key]
		if w.broken == pipeNotGiven {
			continue // what comes of it shall be seen
		}
		if x.id != 0 && (g.id != x.id || g.fds.pipe != x.pipe || g.fds.log != x.log) {
			c.fail(w, truth, "guarded, and S%d does not have the newest of %s", heir.id, key)
		}
	}
}

// wrote: lines came into a log.
func (c *checker) wrote(w *world, key string, lines []int) {
	c.counts.Lines += uint64(len(lines))
	f := c.of(key)
	for _, n := range lines {
		for f.written+1 < n && w.pipe(key).lost[f.written+1] {
			f.written++
		}
		if n != f.written+1 {
			c.fail(w, output, "line %d of %s comes after line %d", n, key, f.written)
		}
		f.written = n
	}
}

// atRest is the end: nothing went wrong for a while.
func (c *checker) atRest(w *world) {
	var active *supervisor
	for i, s := range w.slots {
		if s == nil || !s.alive || !s.begun {
			c.fail(w, silenced, "there is no supervisor.%d", i+1)
			return
		}
		if s.acting {
			active = s
		}
	}
	if active == nil {
		c.fail(w, silenced, "nobody acts")
		return
	}
	if !active.custody.Guarded() {
		c.fail(w, truth, "both live and it is not guarded: %s", active.custody.WhyNotGuarded())
	}
	for k := range w.plan.programs {
		c.programAtRest(w, active, keyName(k))
	}
}

func (c *checker) programAtRest(w *world, active *supervisor, key string) {
	f, p, x := c.of(key), w.alive(key), active.charges[key]
	if x == nil {
		if p != nil && f.want != unknown || f.want == wantRunning {
			c.fail(w, silenced, "%s is not known any more", key)
		}
		c.logAtRest(w, key)
		return
	}
	r := x.life.Record()
	switch {
	case f.want == wantStopped && (p != nil || r.Wanted != lifecycle.WantStopped):
		c.fail(w, stays, "%s is %s though it was stopped", key, r.State)
	case f.want == wantRunning && r.Wanted != lifecycle.WantRunning:
		c.fail(w, silenced, "%s is %s though people were told that it runs", key, r.State)
	case (p != nil) != (r.State == lifecycle.Running) || p != nil && x.proc != p:
		c.fail(w, silenced, "%s is %s, and that is not so", key, r.State)
	case r.Wanted == lifecycle.WantRunning && p == nil && (x.policy.Restart == lifecycle.Always || r.State != lifecycle.Exited && r.State != lifecycle.Fatal):
		c.fail(w, silenced, "%s is %s", key, r.State)
	}
	c.logAtRest(w, key)
}

// logAtRest reads the logs as a person would: the oldest first.
func (c *checker) logAtRest(w *world, key string) {
	q := w.pipe(key)
	at := 0
	next := func() {
		for at++; q.lost[at]; at++ {
		}
	}
	next()
	for i, l := range w.kernel.logs[key].files {
		for _, n := range l.lines {
			if n != at {
				c.fail(w, output, "log %d of %s has line %d where line %d belongs", i, key, n, at)
				return
			}
			next()
		}
	}
	if at <= q.next && len(q.lines) == 0 {
		c.fail(w, output, "the log of %s ends before line %d of %d", key, at, q.next)
	}
}
