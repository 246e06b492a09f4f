package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

const nameA, nameB = "procA", "procB"

// scene is one way to starve.
type scene struct {
	name, what string
	share      float64       // of all the time that is watched
	busy, nice int           // processes beside the pair
	least      []string      // names whose process gets the least scheduling class
	quota      bool          // a quota for procB and the busy processes
	releases   bool          // a hang can be judged only when the guard has its processor back
	within     time.Duration // from the verdict to the start of the successor, under the load; 0: no limit
}

func scenes() []scene {
	const quarter = 0.25
	return []scene{
		{name: "busy", what: "256 busy processes", share: quarter, busy: 256, within: 3 * time.Second},
		{name: "peer", what: "the peer SCHED_IDLE beside 8 at nice -20", share: quarter, busy: 8, nice: -20, least: []string{nameB}},
		{name: "quota", what: "the peer and 8 busy processes in a cgroup with a quota", share: quarter, busy: 8, quota: true},
		{name: "guard", what: "the guard SCHED_IDLE beside 8 at nice -20", share: quarter / 2, busy: 8, nice: -20, least: []string{nameA}, releases: true},
		{name: "both", what: "both SCHED_IDLE beside 8 at nice -20", share: quarter / 2, busy: 8, nice: -20, least: []string{nameA, nameB}, releases: true},
	}
}

// play is a scene on the stage.
type play struct {
	scene
	exe   string // what the members are: this command
	watch time.Duration
	say   func(string, ...any)

	stage *stage.Stage
	pair  *stage.Pair
	load  *load
}

func (p *play) run(ctx context.Context) (err error) {
	if p.stage, err = stage.New("", "pairs"); err != nil {
		return err
	}
	if p.load, err = newLoad(); err != nil {
		return errors.Join(err, p.stage.Close(true))
	}
	defer func() {
		err = errors.Join(err, p.load.release(), p.stage.Close(true), p.load.remove())
	}()
	if err := p.open(ctx); err != nil {
		return err
	}
	defer p.pair.Observer.Close()
	if load, busy := busyAlready(); busy && p.within > 0 {
		p.say("%-7s no limit to how long a start may take: the machine is busy with other things (load %.1f)", p.name, load)
		p.within = 0
	}
	if err := p.burden(); err != nil {
		return err
	}
	if err := p.watchOver(ctx); err != nil {
		return err
	}
	faults := []string{"sleep", "stop"}
	if p.busy > 100 {
		faults = append(faults, "deadlock")
	}
	for _, fault := range faults {
		if err := p.hang(ctx, fault); err != nil {
			return fmt.Errorf("a %s: %w", fault, err)
		}
	}
	return nil
}

// open starts the pair.
func (p *play) open(ctx context.Context) error {
	p.pair = p.stage.NewPair(nameA, nameB)
	if _, err := p.stage.Start(p.exe, "member", nameA, nameB, p.stage.Dir); err != nil {
		return err
	}
	return p.pair.AwaitUp(ctx)
}

// burden puts the load on the members as they are now.
func (p *play) burden() error {
	in := []string{nameA, nameB}
	if p.quota {
		in = []string{nameB}
	}
	for _, name := range in {
		if err := p.load.join(p.pair.Observer.Holder(name)); err != nil {
			return err
		}
	}
	if err := p.load.burn(p.busy, p.nice); err != nil {
		return err
	}
	for _, name := range p.least {
		if err := least(p.pair.Observer.Holder(name)); err != nil {
			return &cannot{err}
		}
	}
	return nil
}

// watchOver lets time pass and counts: nobody may be judged.
func (p *play) watchOver(ctx context.Context) error {
	holders := [2]int{p.pair.Observer.Holder(nameA), p.pair.Observer.Holder(nameB)}
	began := time.Now()
	found := ""
	if p.quota {
		quota, err := p.findQuota(ctx)
		if err != nil {
			return err
		}
		found = fmt.Sprintf(" of %v a second", quota)
	}
	if err := pause(ctx, p.watch-time.Since(began)); err != nil {
		return err
	}
	events, err := p.events(began)
	if err != nil {
		return err
	}
	kills := count(events, pairguard.PeerHung)
	p.say("%-7s %-58s %8v %6d %6d %9v", p.name, p.what+found, time.Since(began).Round(time.Second),
		kills, count(events, pairguard.PeerLate), silence(events).Round(100*time.Millisecond))
	if now := [2]int{p.pair.Observer.Holder(nameA), p.pair.Observer.Holder(nameB)}; kills > 0 || now != holders {
		return fmt.Errorf("judged though it could not run: processes %v have become %v: %s", holders, now, told(events, pairguard.PeerHung))
	}
	return nil
}

// findQuota lowers the quota until heartbeats come more than five seconds late.
func (p *play) findQuota(ctx context.Context) (time.Duration, error) {
	const late = 5*time.Second + pairguard.DefaultHeartbeat
	for quota := 16 * time.Millisecond; ; quota /= 2 {
		if err := p.load.limit(quota); err != nil {
			return 0, err
		}
		began := time.Now()
		try := min(15*time.Second, p.watch/6)
		for time.Since(began) < try {
			if err := pause(ctx, 250*time.Millisecond); err != nil {
				return 0, err
			}
			events, err := p.events(began)
			if err != nil {
				return 0, err
			}
			if silence(events) > late {
				return quota, nil
			}
		}
		if quota <= time.Millisecond { // the least that the kernel takes
			return quota, nil
		}
	}
}

// hang makes procB hang and waits until another process is up in its place.
func (p *play) hang(ctx context.Context, fault string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	old := p.pair.Observer.Holder(nameB)
	began := time.Now()
	if fault == "stop" {
		if err := syscall.Kill(old, syscall.SIGSTOP); err != nil {
			return err
		}
	} else if err := hang(p.stage.Root, fault, nameB); err != nil {
		return err
	}
	limit, from := p.within, "under the load"
	if p.releases {
		if err := pause(ctx, 5*time.Second); err != nil {
			return err
		}
		if err := p.load.release(); err != nil {
			return err
		}
		began, limit, from = time.Now(), 5*time.Second, "from the release of the load"
	}
	hung, started, up, err := p.awaitReplaced(ctx, old)
	if err != nil {
		p.trace(began)
		return err
	}
	if hung.Time.Before(began) {
		began = hung.Time
	}
	replaced := up.Time.Sub(began)
	p.say("        %-9s judged after %v, replaced after %v %s: %s", fault,
		hung.Time.Sub(began).Round(time.Millisecond), replaced.Round(time.Millisecond), from, hung.Reason)
	p.trace(began)
	if limit > 0 && started.Time.Sub(hung.Time) > limit {
		return fmt.Errorf("it took %v from the verdict to the start of its successor", started.Time.Sub(hung.Time))
	}
	if p.releases && replaced > limit {
		return fmt.Errorf("it took %v from the release of the load to its successor", replaced)
	}
	return p.burdenAgain(ctx)
}

// burdenAgain puts the load on the successor as it was on the one before.
func (p *play) burdenAgain(ctx context.Context) error {
	if err := p.load.release(); err != nil {
		return err
	}
	if err := p.pair.AwaitUp(ctx); err != nil {
		return err
	}
	if err := p.burden(); err != nil || !p.quota {
		return err
	}
	return p.load.limit(16 * time.Millisecond)
}

func (p *play) awaitReplaced(ctx context.Context, old int) (hung, started, up pairguard.Event, err error) {
	for {
		events, err := p.events(time.Time{})
		if err != nil {
			return hung, started, up, err
		}
		i := slices.IndexFunc(events, func(e pairguard.Event) bool { return e.Kind == pairguard.PeerHung && e.PeerPID == old })
		if i >= 0 {
			hung = events[i]
			for _, e := range events[i:] {
				switch {
				case e.Self != nameA || e.PeerPID == old:
				case e.Kind == pairguard.PeerStarted:
					started = e
				case e.Kind == pairguard.PeerUp:
					return hung, started, e, nil
				}
			}
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return hung, started, up, fmt.Errorf("not replaced: %w; judged: %v %s", err, !hung.Time.IsZero(), hung.Reason)
		}
	}
}

// events are those of both members since then, in the order of their times.
func (p *play) events(since time.Time) ([]pairguard.Event, error) {
	folder, err := p.stage.Folder()
	if err != nil {
		return nil, err
	}
	all, err := folder.Events()
	return slices.DeleteFunc(all, func(e pairguard.Event) bool { return e.Time.Before(since) }), err
}

// busyAlready: others use the machine so much that times say little.
func busyAlready() (load float64, busy bool) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, false
	}
	_, err = fmt.Sscan(string(text), &load)
	return load, err == nil && load > 2*float64(runtime.NumCPU())
}

// trace tells every event since then, when it is asked for.
func (p *play) trace(since time.Time) {
	if !*verbose {
		return
	}
	events, _ := p.events(since.Add(-10 * time.Second))
	for _, e := range events {
		p.say("        %8v %s %-12s %d %s", e.Time.Sub(since).Round(time.Millisecond), e.Self, e.Kind, e.PeerPID, e.Reason)
	}
}

func count(events []pairguard.Event, kind pairguard.EventKind) (n int) {
	for _, e := range events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func told(events []pairguard.Event, kind pairguard.EventKind) string {
	for _, e := range events {
		if e.Kind == kind {
			return fmt.Sprintf("%s of %s: %s", e.Self, e.Peer, e.Reason)
		}
	}
	return "no " + string(kind)
}

// silence is the longest one that ended in a sign of life, or has not ended yet.
func silence(events []pairguard.Event) (longest time.Duration) {
	suspect := map[string]time.Time{}
	for _, e := range events {
		switch since, is := suspect[e.Self]; {
		case e.Kind == pairguard.PeerSuspect:
			suspect[e.Self] = e.Time
		case e.Kind == pairguard.PeerUp && is:
			longest = max(longest, e.Time.Sub(since)+pairguard.DefaultTimeout)
			delete(suspect, e.Self)
		}
	}
	for _, since := range suspect {
		longest = max(longest, time.Since(since)+pairguard.DefaultTimeout)
	}
	return longest
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
