package stage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// samplePause is the time between two looks at the name locks.
	samplePause = time.Millisecond
	getLock     = syscall.F_GETLK
)

// Sighting is one time during which one process was seen to hold a name.
type Sighting struct {
	Name     string
	PID      int
	From, To time.Time // the first and the last sample that saw it
}

// Observer looks all the time at who holds the names of a stage. It opens the
// lock files itself and asks the kernel; it never locks anything. Safe for
// concurrent use.
type Observer struct {
	dir  string
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex // guards what follows
	names   map[string]*observed
	changed chan struct{} // closed and replaced whenever a holder changes
	samples int
	slowest time.Duration // between two samples
	stalled time.Duration // all time between two samples that was longer than a stall
	last    time.Time
	broken  []string
}

// stall is a pause between two samples that shows that the observer got no
// processor.
const stall = 50 * time.Millisecond

// lockFile is one file that stands, or stood, where the lock file belongs. A
// removed one can still be locked.
type lockFile struct {
	*os.File
	info    os.FileInfo
	removed time.Time // since when it is known to be gone; zero: it is not
}

// forgetAfter is how long a removed file that nobody locks is still asked for: a
// process may have opened it before it was removed, and lock it late. Long runs
// remove thousands.
const forgetAfter = 10 * time.Second

// observed is what is known of one name.
type observed struct {
	files     []*lockFile
	sightings []Sighting
	holder    int // 0: nobody
	most      int // holders at the same time
	contested int // times that somebody locked a second file and did not become a holder
}

// Observe begins to watch names of the stage; they are the stems of the lock files.
func (s *Stage) Observe(names ...string) *Observer {
	o := &Observer{
		dir: s.Dir, quit: make(chan struct{}), done: make(chan struct{}),
		names: map[string]*observed{}, changed: make(chan struct{}), last: time.Now(),
	}
	for _, n := range names {
		o.names[n] = &observed{}
	}
	go o.run()
	return o
}

func (o *Observer) run() {
	defer close(o.done)
	tick := time.NewTicker(samplePause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			o.sample()
		case <-o.quit:
			return
		}
	}
}

func (o *Observer) sample() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.samples++
	gap := now.Sub(o.last)
	o.slowest = max(o.slowest, gap)
	if gap > stall {
		o.stalled += gap - stall
	}
	o.last = now
	for name, n := range o.names {
		n.follow(filepath.Join(o.dir, name+".lock"), now)
		o.see(name, n, now)
		n.forget(now)
	}
}

// follow opens the lock file when another one stands at the path.
func (n *observed) follow(path string, now time.Time) {
	info, err := os.Lstat(path)
	known := err != nil
	for _, f := range n.files {
		switch {
		case err == nil && os.SameFile(f.info, info):
			known, f.removed = true, time.Time{}
		case f.removed.IsZero():
			f.removed = now
		}
	}
	if known {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	if info, err = f.Stat(); err != nil { // another one may have come in between
		f.Close()
		return
	}
	n.files = append(n.files, &lockFile{File: f, info: info})
}

// forget closes the files that were removed long ago and that nobody locks.
func (n *observed) forget(now time.Time) {
	n.files = slices.DeleteFunc(n.files, func(f *lockFile) bool {
		if f.removed.IsZero() || now.Sub(f.removed) < forgetAfter || f.holder() != 0 {
			return false
		}
		f.Close()
		return true
	})
}

// holder is the process that has locked the file; 0: none.
func (f *lockFile) holder() int {
	ask := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), getLock, &ask); err != nil || ask.Type == syscall.F_UNLCK {
		return 0
	}
	return int(ask.Pid)
}

// holders are the processes that have one of the lock files locked now, each once.
func (n *observed) holders() []int {
	var pids []int
	for _, f := range n.files {
		if pid := f.holder(); pid != 0 && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// see takes one sample of one name.
func (o *Observer) see(name string, n *observed, now time.Time) {
	pids := n.holders()
	if len(pids) > 1 {
		// The files are asked one after the other. Whoever is there before and after
		// all others was there together with them.
		pids = slices.DeleteFunc(pids, func(pid int) bool { return !slices.Contains(n.holders(), pid) })
	}
	if len(pids) > 1 {
		pids = o.settle(name, n, pids)
	}
	n.most = max(n.most, len(pids))
	holder := 0
	if len(pids) > 0 {
		holder = pids[0]
	}
	if len(pids) > 1 {
		o.broken = append(o.broken, fmt.Sprintf("%s has %d holders at the same time: processes %v", name, len(pids), pids))
		holder = n.holder
	}
	n.record(name, holder, now)
	if holder != n.holder {
		n.holder = holder
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// settle tells holders from contenders. Where the lock file was removed and made
// again, a second process can lock the new file before it finds out that the name
// is taken, and goes; it became a holder only if it began a life of the name.
func (o *Observer) settle(name string, n *observed, pids []int) []int {
	life, _ := os.ReadFile(filepath.Join(o.dir, name+".life"))
	real := slices.DeleteFunc(slices.Clone(pids), func(pid int) bool {
		return pid != n.holder && !bytes.Contains(life, fmt.Appendf(nil, `"pid":%d,`, pid))
	})
	n.contested += len(pids) - len(real)
	return real
}

func (n *observed) record(name string, pid int, now time.Time) {
	if pid == 0 {
		return
	}
	if last := len(n.sightings) - 1; last >= 0 && n.sightings[last].PID == pid {
		n.sightings[last].To = now
		return
	}
	n.sightings = append(n.sightings, Sighting{Name: name, PID: pid, From: now, To: now})
}

// Holder is the process that holds the name now; 0: nobody.
func (o *Observer) Holder(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.names[name].holder
}

// Stalled is for how long the observer itself has got no processor so far. Nobody
// else on this machine can be expected to have had more.
func (o *Observer) Stalled() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stalled
}

// AwaitHolder waits until a process holds the name that is none of the others.
func (o *Observer) AwaitHolder(ctx context.Context, name string, others ...int) (Sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		o.mu.Lock()
		n, changed := o.names[name], o.changed
		if n.holder != 0 && !slices.Contains(others, n.holder) {
			s := n.sightings[len(n.sightings)-1]
			o.mu.Unlock()
			return s, nil
		}
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Sighting{}, fmt.Errorf("nobody new holds %s: %w", name, ctx.Err())
		}
	}
}

// AwaitNobody waits until nobody holds any of the names.
func (o *Observer) AwaitNobody(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		o.mu.Lock()
		held, changed := "", o.changed
		for name, n := range o.names {
			if n.holder != 0 {
				held = fmt.Sprintf("%s by process %d", name, n.holder)
			}
		}
		o.mu.Unlock()
		if held == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("still held: %s: %w", held, ctx.Err())
		}
	}
}

// Report is what an observer has seen.
type Report struct {
	Samples   int
	Slowest   time.Duration // the longest time between two samples
	Stalled   time.Duration // see [Observer.Stalled]
	Most      int           // holders of one name at the same time
	Contested int           // samples in which somebody had locked a second lock file without becoming holder
	Sightings map[string][]Sighting
	Broken    []string // what must not be
}

// Longest is the longest time during which nobody held the name, between two
// sightings, and how often its holder changed.
func (r Report) Longest(name string) (gap time.Duration, changes int) {
	s := r.Sightings[name]
	for i := 1; i < len(s); i++ {
		gap = max(gap, s[i].From.Sub(s[i-1].To))
	}
	return gap, max(len(s)-1, 0)
}

// Close ends the watching and says what was seen.
func (o *Observer) Close() Report {
	close(o.quit)
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	r := Report{Samples: o.samples, Slowest: o.slowest, Stalled: o.stalled, Sightings: map[string][]Sighting{}, Broken: o.broken}
	for name, n := range o.names {
		r.Most = max(r.Most, n.most)
		r.Contested += n.contested
		r.Sightings[name] = n.sightings
		for _, f := range n.files {
			f.Close()
		}
	}
	return r
}
