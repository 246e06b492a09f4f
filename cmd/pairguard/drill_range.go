package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

const (
	// hangLanes pairs hang at the same time: a hang is two seconds of waiting.
	hangLanes = 4
	// settlePoll is how often it is looked whether a pair has settled.
	settlePoll = 5 * time.Millisecond
	// reviewTime is how long what may be late may take: the last line of an event
	// log, the reaping of a dead process.
	reviewTime = 2 * time.Second
)

// shootingRange is where the drill takes place: a scratch folder, pairs of guards
// in it, and an observer.
type shootingRange struct {
	dir      string
	folder   *pairguard.Folder
	observer *observer
	lanes    []*lane
	first    []*proc.Handle // what the drill itself has started
	hanging  []revival      // by the lanes together
	crashing []revival
	taking   []revival
	post     *post        // nil: no supervisors were started
	extra    atomic.Int64 // processes beyond the two of a pair that did not go
}

func newRange() (*shootingRange, error) {
	path, err := os.MkdirTemp("", "pairguard-drill-")
	if err != nil {
		return nil, err
	}
	r := &shootingRange{dir: path}
	if r.folder, err = pairguard.OpenFolder(path); err == nil {
		r.dir = r.folder.Path()
		var dir *pairdir.Dir
		if dir, err = pairdir.Open(r.dir); err == nil {
			r.observer = observe(dir)
			return r, nil
		}
	}
	return nil, errors.Join(err, os.Remove(path))
}

// crashes kills members of one pair, in turn.
func (r *shootingRange) crashes(ctx context.Context, rounds int, bar *progress) error {
	bar.show("starting a pair")
	l, err := r.open(ctx)
	if err != nil {
		return err
	}
	for n := range rounds {
		back, err := l.round(ctx, "crash", os.Kill)
		if err != nil {
			return err
		}
		r.crashing = append(r.crashing, back)
		bar.step("crashes")
		if n%100 == 99 {
			r.fillIn() // before the event logs are rotated
		}
	}
	return nil
}

// hangs freezes members of several pairs at the same time, in turn in each.
func (r *shootingRange) hangs(ctx context.Context, rounds int, bar *progress) error {
	if freezeSignal == nil {
		return nil
	}
	for len(r.lanes) < min(hangLanes, rounds) {
		bar.show("starting more pairs")
		if _, err := r.open(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex // guards what follows, r.hanging and bar
	var failed error
	left := rounds
	take := func() bool {
		mu.Lock()
		defer mu.Unlock()
		left--
		return left >= 0
	}
	for _, l := range r.lanes {
		all.Go(func() {
			for take() {
				back, err := l.round(ctx, "hang", freezeSignal)
				mu.Lock()
				if err == nil {
					r.hanging = append(r.hanging, back)
					bar.step("hangs, each takes more than 2 s")
				} else if failed == nil {
					failed = err
					cancel()
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return failed
}

// environ makes all processes of the drill find its folder, and be found by it.
func (r *shootingRange) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, pairdir.Variable+"=") })
	return append(env, r.mark())
}

func (r *shootingRange) mark() string { return pairdir.Variable + "=" + r.dir }

// review collects what the drill has shown.
func (r *shootingRange) review(ctx context.Context, d *drilled) error {
	deadline := time.Now().Add(reviewTime)
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for missing := true; missing && time.Now().Before(deadline); <-tick.C {
		missing = r.fillIn() > 0
	}
	for _, all := range [][]revival{r.crashing, r.hanging} {
		for i := range all {
			if all[i].back <= 0 { // the log does not have it; the observer does
				all[i].back = all[i].seen
			}
		}
	}
	d.crash, d.hang, d.takeover = r.crashing, r.hanging, r.taking
	ended, everybody := r.observer.innocents()
	d.falseKills, d.zombies = ended, awaitReaped(everybody)
	if err := r.post.review(d); err != nil {
		return err
	}
	if err := r.stop(ctx, d); err != nil {
		return err
	}
	r.observer.mu.Lock()
	defer r.observer.mu.Unlock()
	d.duplicates += r.observer.duplicates + int(r.extra.Load())
	d.looks, d.stall = d.looks+r.observer.looks, max(d.stall, r.observer.slowest)
	d.judge()
	return r.observer.err
}

// awaitReaped counts the dead processes that their living parents have not reaped
// within the time for it.
func awaitReaped(everybody []*proc.Handle) (zombies int) {
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	deadline := time.Now().Add(reviewTime)
	for zombies = unreaped(everybody); zombies > 0 && time.Now().Before(deadline); <-tick.C {
		zombies = unreaped(everybody)
	}
	return zombies
}

// fillIn takes the time of the first sign of life of each new process from the
// event logs, and says how many are not there.
func (r *shootingRange) fillIn() (missing int) {
	events, _ := r.folder.Events() // what cannot be read stays missing
	type key struct {
		guard string
		pid   int
	}
	up := map[key]time.Time{}
	for _, e := range events {
		k := key{e.Self, e.PeerPID}
		if _, known := up[k]; e.Kind == pairguard.PeerUp && !known {
			up[k] = e.Time
		}
	}
	for _, all := range [][]revival{r.crashing, r.hanging} {
		for i := range all {
			if v := &all[i]; v.back == 0 {
				v.back = max(up[key{v.guard, v.pid}].Sub(v.struck.Round(0)), 0)
				if v.back == 0 {
					missing++
				}
			}
		}
	}
	return missing
}

// stop ends the pairs as a person would, and holds the promised time against it.
func (r *shootingRange) stop(ctx context.Context, d *drilled) error {
	ctx, cancel := context.WithTimeout(ctx, demoStep)
	defer cancel()
	began := time.Now()
	report, err := r.folder.Stop(ctx, pairguard.DefaultGrace)
	if err != nil {
		return err
	}
	if took, limit := time.Since(began), pairguard.DefaultGrace+time.Second; took > limit {
		d.broken = append(d.broken, fmt.Sprintf("pairguard stop took %v, more than %v", took.Round(time.Millisecond), limit))
	}
	for _, m := range report.Members {
		if m.How != pairguard.HowEnded {
			d.broken = append(d.broken, fmt.Sprintf("%s (pid %d) %s instead of ending by itself", m.Name, m.PID, m.How))
		}
	}
	return nil
}

// clear ends whatever is left, proves that it is gone, and removes the folder. It
// does so even after a Ctrl-C, hence no context of the caller.
func (r *shootingRange) clear() error {
	ctx, cancel := context.WithTimeout(context.Background(), demoStep)
	defer cancel()
	errs := []error{r.post.clear(ctx)}
	_, err := r.folder.Stop(ctx, time.Second)
	errs = append(errs, err)
	r.observer.close()
	_, everybody := r.observer.innocents()
	for _, h := range append(everybody, r.first...) {
		errs = append(errs, h.Kill(), gone(ctx, h))
		h.Close()
	}
	errs = append(errs, os.RemoveAll(r.dir))
	if _, err := os.Lstat(r.dir); err == nil {
		errs = append(errs, fmt.Errorf("the folder %s is still there", r.dir))
	}
	return errors.Join(errs...)
}
