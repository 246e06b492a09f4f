package supervisors

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/lifecycle"
)

// Result is what a run came to.
type Result struct {
	Seed    uint64
	Failure *Failure
	Counts  Counts
	Trace   []string
}

func newWorld(seed uint64, f Faults, b broken, p *plan) *world {
	w := &world{
		faults: f, broken: b, check: newChecker(), kernel: newKernel(),
		random: rand.New(rand.NewPCG(seed, 1)), disk: disk{stored: map[string]uint64{}},
		bodies: []body{{}}, // no body has the number 0
	}
	if p == nil {
		drawn := drawPlan(rand.New(rand.NewPCG(seed, 2)), f)
		p = &drawn
	}
	w.plan = *p
	for k := range w.plan.programs {
		c := &client{w: w, key: keyName(k), policy: policies[w.plan.policies[k]]}
		w.clients = append(w.clients, c)
		w.after(w.some(time.Second), func() { c.wish(happening{deed: askStart}) })
	}
	w.spawn(w.random.IntN(2))
	for _, h := range w.plan.happenings {
		w.after(h.at, func() { w.happen(h) })
	}
	w.after(f.Busy, w.calmDown)
	return w
}

// happen is one thing going wrong, or one wish.
func (w *world) happen(h happening) {
	w.tell("---- %s", h)
	active, standby := w.roles()
	switch h.deed {
	case killActive:
		w.kill(active, "killed")
	case killStandby:
		w.kill(standby, "killed")
	case killBoth:
		w.kill(active, "killed")
		w.after(w.some(3*time.Millisecond), func() { w.kill(standby, "killed") })
	case stopActive, stopStandby:
		s := active
		if h.deed == stopStandby {
			s = standby
		}
		if s != nil {
			s.standStill(h.lasts)
		}
	case cutLink:
		if active != nil && active.link != nil {
			active.link.close()
		}
	case diskFull:
		w.disk.fullUntil = w.now + h.lasts
	case diskHangs:
		w.disk.hungUntil = w.now + h.lasts
	case killProgram:
		if p := w.alive(keyName(h.key)); p != nil {
			w.end(p, 137)
		}
	case up:
		w.up()
	default:
		w.clients[h.key].wish(h)
	}
}

// roles: who acts (or will, as far as one can tell), and the other one.
func (w *world) roles() (active, standby *supervisor) {
	for _, s := range w.slots {
		switch {
		case s == nil || !s.alive:
		case s.acting || active == nil && w.holder == s:
			active = s
		default:
			standby = s
		}
	}
	return active, standby
}

// up starts the supervisors when nobody is there.
func (w *world) up() {
	if w.slots[0] == nil && w.slots[1] == nil {
		w.spawn(w.random.IntN(2))
	}
}

// calmDown: nothing goes wrong any more; people see that somebody is there.
func (w *world) calmDown() {
	if !w.calm {
		w.tell("---- calm")
	}
	w.calm = true
	w.disk.fullUntil, w.disk.hungUntil = 0, 0
	for _, s := range w.slots {
		if s != nil && s.hung {
			s.goOn()
		}
	}
	w.up()
	if w.now < w.faults.Busy+2*time.Second {
		w.after(500*time.Millisecond, w.calmDown)
	}
}

// rest lets a world live to its end and looks at it.
func (w *world) rest() Result {
	w.run(w.faults.Busy + w.faults.Calm)
	for range 50 { // the last lines may be on their way
		if w.check.failure == nil && !w.quiet() {
			w.run(w.now + 10*time.Millisecond)
		}
	}
	if w.check.failure == nil {
		w.check.atRest(w)
	}
	r := Result{Failure: w.check.failure, Counts: w.check.counts}
	if w.trace != nil {
		r.Trace = *w.trace
	}
	return r
}

// quiet tells whether nothing is on its way to a standby.
func (w *world) quiet() bool {
	for _, s := range w.slots {
		if s != nil && s.acting && s.custody.Guarded() {
			return true
		}
	}
	return false
}

// Run simulates one seed; variant is "" or the name of a broken variant.
func Run(seed uint64, f Faults, variant string) (Result, error) {
	b, err := byName(variant)
	if err != nil {
		return Result{}, err
	}
	r := newWorld(seed, f, b, nil).rest()
	r.Seed = seed
	return r, nil
}

// Shrink repeats a failing seed with a trace, after leaving out every happening without which the same promise is still broken.
func Shrink(seed uint64, f Faults, variant string) (Result, error) {
	b, err := byName(variant)
	if err != nil {
		return Result{}, err
	}
	p := drawPlan(rand.New(rand.NewPCG(seed, 2)), f)
	first := newWorld(seed, f, b, &p).rest()
	if first.Failure == nil {
		return first, nil
	}
	for again := true; again; {
		again = false
		for i := range p.happenings {
			less := p
			less.happenings = append(append([]happening{}, p.happenings[:i]...), p.happenings[i+1:]...)
			if got := newWorld(seed, f, b, &less).rest(); got.Failure != nil && got.Failure.Promise == first.Failure.Promise {
				p, again = less, true
				break
			}
		}
	}
	w := newWorld(seed, f, b, &p)
	w.trace = &[]string{}
	r := w.rest()
	r.Seed = seed
	return r, nil
}

// Many runs the seeds from first on, in parallel, until one fails or all are done.
func Many(first uint64, runs int, f Faults, variant string) (failed *Result, total Counts, done int, err error) {
	if _, err := byName(variant); err != nil {
		return nil, total, 0, err
	}
	var next atomic.Uint64
	var mu sync.Mutex
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for {
				n := next.Add(1) - 1
				mu.Lock()
				stop := n >= uint64(runs) || failed != nil
				mu.Unlock()
				if stop {
					return
				}
				r, _ := Run(first+n, f, variant)
				mu.Lock()
				done++
				total.add(r.Counts)
				if r.Failure != nil && (failed == nil || r.Seed < failed.Seed) {
					failed = &r
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return failed, total, done, nil
}

func custodyText(actions []custody.Action) string {
	var texts []string
	for _, a := range actions {
		text := strings.TrimPrefix(fmt.Sprintf("%T", a), "custody.")
		switch a := a.(type) {
		case custody.Give:
			text += fmt.Sprintf(" %d %s", a.Seq, a.Item.Key)
		case custody.Release:
			text += fmt.Sprintf(" %d held %v", a.Ticket, a.Held)
		case custody.Ack:
			text += fmt.Sprintf(" %d", a.Seq)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

func lifeText(actions []lifecycle.Action) string {
	var texts []string
	for _, a := range actions {
		text := strings.TrimPrefix(fmt.Sprintf("%T", a), "lifecycle.")
		if n, is := a.(lifecycle.Note); is {
			text = string(n.Kind)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}
