package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/proc"
)

// lane is one pair.
type lane struct {
	r    *shootingRange
	a, b string
	next string // whose turn it is
}

// open starts one more pair and waits until both guard each other.
func (r *shootingRange) open(ctx context.Context) (*lane, error) {
	n := len(r.lanes) + 1
	l := &lane{r: r, a: fmt.Sprintf("drillA%d", n), b: fmt.Sprintf("drillB%d", n)}
	l.next = l.b
	r.lanes = append(r.lanes, l)
	for _, name := range []string{l.a, l.b} {
		if err := r.observer.add(name); err != nil {
			return nil, err
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, err := os.Create(l.output())
	if err != nil {
		return nil, err
	}
	defer out.Close()
	h, err := proc.Start(proc.Spec{
		Path: exe, Args: []string{"guard", l.a, l.b, "--backoff", "0"},
		Dir: r.dir, Env: r.environ(), Output: out,
	})
	if err != nil {
		return nil, err
	}
	r.first = append(r.first, h)
	for _, name := range []string{l.a, l.b} {
		if _, err := r.observer.await(ctx, name, nil); err != nil {
			return nil, fmt.Errorf("%w%s", err, l.lastWords())
		}
	}
	return l, l.settle(ctx)
}

func (l *lane) output() string { return filepath.Join(l.r.dir, l.a+".out") }

// lastWords are the output of the first process, in case it could not even start.
func (l *lane) lastWords() string {
	text, err := os.ReadFile(l.output())
	if err != nil || len(text) == 0 {
		return ""
	}
	return ": " + string(text[max(len(text)-500, 0):])
}

// round strikes the one whose turn it is and waits until the pair is whole again.
func (l *lane) round(ctx context.Context, fault string, with os.Signal) (revival, error) {
	name, guard := l.next, l.a
	if name == l.a {
		guard = l.b
	}
	l.next = guard
	old := l.r.observer.strike(name)
	struck := time.Now()
	strike := old.process.Kill
	if with != os.Kill {
		strike = func() error { return old.process.Signal(with) }
	}
	if err := strike(); err != nil {
		return revival{}, fmt.Errorf("%s (pid %d): %w", name, old.process.PID(), err)
	}
	successor, err := l.r.observer.await(ctx, name, old)
	if err != nil {
		return revival{}, fmt.Errorf("after a %s %w", fault, err)
	}
	return revival{
		fault: fault, name: name, guard: guard, oldPID: old.process.PID(), pid: successor.process.PID(),
		struck: struck, seen: successor.from.Sub(struck),
	}, l.settle(ctx)
}

// settle waits until each of the two is up for the other, and there is no third
// process. One that stays is a duplicate.
func (l *lane) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoStep)
	defer cancel()
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for {
		members, err := l.r.folder.Members(ctx, l.a, l.b)
		whole := err == nil && l.whole(members)
		extra := 0
		if whole {
			extra = l.third()
		}
		if whole && extra == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.r.extra.Add(int64(extra))
			if whole {
				return nil
			}
			return fmt.Errorf("%s and %s are %w for each other after %v: %+v", l.a, l.b, errNotBack, demoStep, members)
		}
	}
}

func (l *lane) whole(members []pairguard.MemberStatus) bool {
	now := l.r.observer.current(l.a, l.b)
	if len(members) != 2 {
		return false
	}
	for _, m := range members {
		if !m.Running || m.Phase != "up" || m.PID != now[m.Self] || m.PeerPID != now[m.Peer] {
			return false
		}
	}
	return true
}

// third counts the processes of the pair beyond the two that hold its names.
func (l *lane) third() int {
	now := l.r.observer.current(l.a, l.b)
	pids, known := guardProcesses(l.r.mark(), l.a, l.b)
	if !known {
		return 0
	}
	return len(slices.DeleteFunc(pids, func(pid int) bool { return pid == now[l.a] || pid == now[l.b] }))
}
