package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

// lookPause is the time between two looks of the drill's observer.
const lookPause = 2 * time.Millisecond

// errNotBack: a member that was struck did not come back.
var errNotBack = errors.New("not back")

// observer looks all the time at who holds the names of the drill. It asks the
// operating system for the holders of the locks and keeps a handle on everybody
// whom it ever saw; it believes nothing that the guards say. Safe for concurrent
// use.
type observer struct {
	dir  *pairdir.Dir
	quit chan struct{}
	done chan struct{}

	mu         sync.Mutex // guards what follows
	names      map[string]*seenName
	changed    chan struct{} // closed and replaced when there is a new holder
	duplicates int
	looks      int
	slowest    time.Duration // between two looks
	last       time.Time
	err        error
}

// seenName is one name and everybody who was seen to hold it; the last one is the
// newest.
type seenName struct {
	name    pairdir.Name
	holders []*holder
}

// holder is a process that was seen to hold a name.
type holder struct {
	process *proc.Handle
	from    time.Time // the look that saw it first
	struck  bool      // the drill has struck it
}

func observe(dir *pairdir.Dir) *observer {
	o := &observer{
		dir: dir, quit: make(chan struct{}), done: make(chan struct{}),
		names: map[string]*seenName{}, changed: make(chan struct{}), last: time.Now(),
	}
	go o.run()
	return o
}

// add makes the observer look at one more name.
func (o *observer) add(name string) error {
	n, err := o.dir.Name(name)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names[name] = &seenName{name: n}
	return nil
}

func (o *observer) run() {
	defer close(o.done)
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			o.look()
		case <-o.quit:
			return
		}
	}
}

func (o *observer) look() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.looks++
	o.slowest = max(o.slowest, now.Sub(o.last))
	o.last = now
	for _, n := range o.names {
		if err := o.lookAt(n, now); err != nil {
			o.err = err
		}
	}
}

// lookAt finds out whether somebody new holds a name. All who held it before must
// be dead then.
func (o *observer) lookAt(n *seenName, now time.Time) error {
	held, err := o.dir.Holder(n.name)
	if err != nil || !held.Held || held.PID == 0 || n.pid() == held.PID {
		return err
	}
	h, err := proc.Open(held.PID)
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	if again, err := o.dir.Holder(n.name); err != nil || again != held {
		h.Close() // its number may be another process's by now
		return err
	}
	for _, former := range n.holders {
		if lives(former.process) {
			o.duplicates++
		}
	}
	n.holders = append(n.holders, &holder{process: h, from: now})
	close(o.changed)
	o.changed = make(chan struct{})
	return nil
}

func (n *seenName) pid() int {
	if len(n.holders) == 0 {
		return 0
	}
	return n.holders[len(n.holders)-1].process.PID()
}

// lives asks the operating system again: that a handle has not heard of an end
// yet proves nothing.
func lives(h *proc.Handle) bool {
	select {
	case <-h.Done():
		return false
	default:
	}
	again, err := proc.Reopen(h.ID())
	if err != nil {
		return !errors.Is(err, proc.ErrGone)
	}
	defer again.Close()
	select {
	case <-again.Done():
		return false
	default:
		return true
	}
}

// await waits for a holder of the name that is not the former one.
func (o *observer) await(ctx context.Context, name string, former *holder) (*holder, error) {
	ctx, cancel := context.WithTimeout(ctx, demoStep)
	defer cancel()
	for {
		o.mu.Lock()
		all, changed := o.names[name].holders, o.changed
		o.mu.Unlock()
		if len(all) > 0 && all[len(all)-1] != former {
			return all[len(all)-1], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s is %w after %v", name, errNotBack, demoStep)
		}
	}
}

// strike marks the newest holder of a name, under each of its names, as one whose end
// is the drill's doing.
func (o *observer) strike(name string) *holder {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.names[name].holders
	newest := all[len(all)-1]
	for _, n := range o.names {
		for _, h := range n.holders {
			if h.process.ID() == newest.process.ID() {
				h.struck = true
			}
		}
	}
	return newest
}

// current are the newest holders of the names.
func (o *observer) current(names ...string) map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := map[string]int{}
	for _, name := range names {
		now[name] = o.names[name].pid()
	}
	return now
}

// innocents are the processes that have ended though the drill did not strike
// them, and everybody are all that were ever seen.
func (o *observer) innocents() (ended int, everybody []*proc.Handle) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.names {
		for _, h := range n.holders {
			everybody = append(everybody, h.process)
			if !h.struck && !lives(h.process) {
				ended++
			}
		}
	}
	return ended, everybody
}

// close ends the watching.
func (o *observer) close() {
	close(o.quit)
	<-o.done
}
