package supervisors

import "time"

// The states of a process of a program.
type vital uint8

const (
	unborn  vital = iota // between fork and exec
	running              // it executes the program
	over
)

// program is one process that is, or will be, or was the main process of a program, with the tree below it.
type program struct {
	key    string
	gen    uint64
	mark   uint64 // in its environment; drawn for each intent
	number int
	vital  vital
	ran    bool // it has executed an instruction of the program
	tree   bool // something of its tree lives apart from it
	traced bool // a cgroup remembers that it ran
	polite bool // it obeys its stop signal
	code   int
	parent *supervisor
	asked  bool // to end, by a supervisor
}

// kernel is what of the operating system has to do with programs.
type kernel struct {
	programs map[string][]*program
	pipes    map[string]*pipe
	logs     map[string]*logs
	forks    int
}

func newKernel() kernel {
	return kernel{programs: map[string][]*program{}, pipes: map[string]*pipe{}, logs: map[string]*logs{}}
}

func (w *world) pipe(key string) *pipe {
	if w.kernel.pipes[key] == nil {
		w.kernel.pipes[key] = &pipe{}
		w.kernel.logs[key] = &logs{files: []*file{{}}}
	}
	return w.kernel.pipes[key]
}

// fork makes a child; told hears how the exec went, as the parent does.
func (w *world) fork(s *supervisor, key string, gen, mark uint64, told func(p *program, ok bool)) {
	w.kernel.forks++
	p := &program{key: key, gen: gen, mark: mark, number: w.kernel.forks, parent: s, traced: w.random.IntN(2) == 0, polite: w.random.IntN(3) > 0}
	w.kernel.programs[key] = append(w.kernel.programs[key], p)
	w.check.counts.Forks++
	w.tell("        %s#%d is forked, generation %d", key, p.number, gen)
	d := 100*time.Microsecond + w.some(2*time.Millisecond)
	if !w.calm && w.chance(w.faults.StuckExec) {
		d += w.some(6 * time.Second)
	}
	fails := !w.calm && w.chance(w.faults.FailedExec)
	w.after(d, func() {
		if fails {
			p.vital = over
			w.tell("        %s#%d: its exec fails", key, p.number)
		} else {
			p.vital, p.ran = running, true
			w.tell("        %s#%d runs", key, p.number)
			w.check.born(w, p)
			w.live(p)
		}
		w.settled()
		told(p, !fails)
	})
}

// birthsOpen tells whether a child of a dead supervisor may still become a program.
func (w *world) birthsOpen() bool {
	for _, list := range w.kernel.programs {
		for _, p := range list {
			if p.vital == unborn && !p.parent.alive {
				return true
			}
		}
	}
	return false
}

func (w *world) settled() {
	if w.birthsOpen() {
		return
	}
	waiting := w.awaiting
	w.awaiting = nil
	for _, do := range waiting {
		do()
	}
}

// awaitBirths does something when there are no open births.
func (w *world) awaitBirths(do func()) {
	if w.broken == birthsNotAwaited || !w.birthsOpen() {
		do()
		return
	}
	w.awaiting = append(w.awaiting, do)
}

// live lets a program write, leave children behind, and end by itself.
func (w *world) live(p *program) {
	if w.random.IntN(4) == 0 {
		p.tree = true
	}
	w.after(w.some(50*time.Millisecond), func() { w.talk(p) })
	life := 100*time.Millisecond + w.some(20*time.Second)
	if w.chance(w.faults.ShortLife) {
		life = w.some(30 * time.Millisecond)
	}
	if w.now+life < w.faults.Busy {
		code := w.random.IntN(2)
		w.after(life, func() { w.end(p, code) })
	}
}

// talk writes a few lines, or waits for room in the pipe.
func (w *world) talk(p *program) {
	if p.vital != running || w.now > w.faults.Busy+w.faults.Calm-3*time.Second {
		return
	}
	q := w.pipe(p.key)
	n := 1 + w.random.IntN(6)
	if len(q.lines)+n > pipeRoom {
		w.after(20*time.Millisecond, func() { w.talk(p) })
		return
	}
	for range n {
		q.next++
		q.lines = append(q.lines, q.next)
	}
	w.readable(p.key)
	pause := w.some(100 * time.Millisecond)
	if w.calm {
		pause = time.Second + w.some(time.Second)
	}
	w.after(pause, func() { w.talk(p) })
}

// end is the death of a main process.
func (w *world) end(p *program, code int) {
	if p.vital != running {
		return
	}
	p.vital, p.code = over, code
	w.tell("        %s#%d ends", p.key, p.number)
	w.drop(p.key)
	for _, s := range w.slots {
		if s != nil {
			s.programEnded(p)
		}
	}
}

// alive is the main process of the key that runs; nil: none.
func (w *world) alive(key string) *program {
	for _, p := range w.kernel.programs[key] {
		if p.vital == running {
			return p
		}
	}
	return nil
}

// clearTree ends what a program left behind; done hears that it is gone.
func (w *world) clearTree(key string, mark uint64, done func()) {
	w.after(w.some(5*time.Millisecond), func() {
		for _, p := range w.kernel.programs[key] {
			if p.mark == mark && p.vital != unborn {
				p.tree = false
			}
		}
		w.drop(key)
		done()
	})
}

// clearLeftovers ends what lives with other marks than those two.
func (w *world) clearLeftovers(key string, a, b uint64, done func()) {
	w.after(w.some(5*time.Millisecond), func() {
		for _, p := range w.kernel.programs[key] {
			if p.mark != a && p.mark != b {
				p.tree = false
			}
		}
		w.drop(key)
		done()
	})
}

// pipe is a named pipe; logs are the files that its content goes to, the newest last.
type pipe struct {
	lines []int
	next  int
	lost  map[int]bool // by rule: nobody held the pipe open, and both supervisors were dead
}

const (
	pipeRoom = 40
	logRoom  = 30 // lines after which a log may be rotated; with twice as many it is
)

type file struct{ lines []int }

type logs struct{ files []*file }

func (l *logs) newest() *file { return l.files[len(l.files)-1] }

// drop is called when a descriptor may have been closed: a pipe that nobody has open forgets what is in it.
func (w *world) drop(key string) {
	q := w.kernel.pipes[key]
	if q == nil || len(q.lines) == 0 {
		return
	}
	ready := false
	for _, s := range w.slots {
		if s == nil || s.closed {
			continue
		}
		if s.holdsPipe(key) {
			return
		}
		_, given := s.given[key]
		ready = ready || s.ready && (given || s.charges[key] != nil) // nothing runs before the standby was given it
	}
	for _, p := range w.kernel.programs[key] {
		if p.vital != over || p.tree {
			return
		}
	}
	w.tell("        %d lines of %s are lost with the pipe", len(q.lines), key)
	if !ready || w.check.of(key).orphan {
		if q.lost == nil {
			q.lost = map[int]bool{}
		}
		for _, n := range q.lines {
			q.lost[n] = true
		}
	}
	q.lines = nil
}
