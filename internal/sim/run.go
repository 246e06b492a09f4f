package sim

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Result is what a run came to.
type Result struct {
	Seed    uint64
	Failure *Failure
	Counts  Counts
	Trace   []string
}

// newWorld is the world of a seed, with a plan of its own or a given one.
func newWorld(seed uint64, f Faults, b broken, p *plan) *world {
	w := &world{
		folder: newFolder(), faults: f, broken: b, check: newChecker(),
		random: rand.New(rand.NewPCG(seed, 1)),
		procs:  make([]process, 0, 16), conns: make([]conn, 0, 64), queue: make(queue, 0, 64),
	}
	if p == nil {
		drawn := drawPlan(rand.New(rand.NewPCG(seed, 2)), f)
		p = &drawn
	}
	w.plan = *p
	for name, begins := range w.plan.started {
		if begins {
			w.plan.happenings = append(w.plan.happenings[:len(w.plan.happenings):len(w.plan.happenings)],
				happening{at: w.plan.startAt[name], deed: start, name: name})
		}
	}
	for i, h := range w.plan.happenings {
		w.push(item{at: h.at, kind: itemHappening, p: int32(i)})
	}
	return w
}

// live lets a world live to its end and looks at it.
func (w *world) live() Result {
	w.run(w.faults.Quiet + w.faults.Calm)
	w.check.atRest(w)
	r := Result{Failure: w.check.failure, Counts: w.check.counts}
	if w.trace != nil {
		r.Trace = w.trace.lines
	}
	return r
}

// Run simulates one seed; variant is "" or the name of a broken variant.
func Run(seed uint64, f Faults, variant string) (Result, error) {
	b, err := byName(variant)
	if err != nil {
		return Result{}, err
	}
	r := newWorld(seed, f, b, nil).live()
	r.Seed = seed
	return r, nil
}

// Shrink repeats a failing seed with a trace, after leaving out every happening
// without which the same promise is still broken.
func Shrink(seed uint64, f Faults, variant string) (Result, error) {
	b, err := byName(variant)
	if err != nil {
		return Result{}, err
	}
	p := drawPlan(rand.New(rand.NewPCG(seed, 2)), f)
	first := newWorld(seed, f, b, &p).live()
	if first.Failure == nil {
		return first, nil
	}
	for again := true; again; {
		again = false
		for i := range p.happenings {
			less := p
			less.happenings = append(append([]happening{}, p.happenings[:i]...), p.happenings[i+1:]...)
			if got := newWorld(seed, f, b, &less).live(); got.Failure != nil && got.Failure.Promise == first.Failure.Promise {
				p, again = less, true
				break
			}
		}
	}
	w := newWorld(seed, f, b, &p)
	w.trace = &trace{}
	r := w.live()
	r.Seed = seed
	return r, nil
}

// Many runs the seeds from first on, in parallel, until one fails or all are
// done. progress is called now and then with the number of runs done; it may be nil.
func Many(first uint64, runs int, f Faults, variant string, progress func(int)) (failed *Result, total Counts, done int, err error) {
	if _, err := byName(variant); err != nil {
		return nil, total, 0, err
	}
	var next, finished atomic.Uint64
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
				finished.Add(1)
				mu.Lock()
				total.add(r.Counts)
				if r.Failure != nil && (failed == nil || r.Seed < failed.Seed) {
					failed = &r
				}
				mu.Unlock()
			}
		})
	}
	stopTelling := tellProgress(progress, &finished)
	group.Wait()
	stopTelling()
	return failed, total, int(finished.Load()), nil
}

func tellProgress(progress func(int), finished *atomic.Uint64) (stop func()) {
	if progress == nil {
		return func() {}
	}
	quit := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticks.C:
				progress(int(finished.Load()))
			}
		}
	}()
	return func() { close(quit); <-gone }
}

func (c *Counts) add(d Counts) {
	c.Steps += d.Steps
	c.Kills += d.Kills
	c.Spawns += d.Spawns
	c.Deaths += d.Deaths
	c.Stops += d.Stops
	c.Leaves += d.Leaves
}
