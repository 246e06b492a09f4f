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
	busy, nice int           // processes beside those that are to starve
	starve     []string      // names whose process is put among them
	least      bool          // and gets the least scheduling class
	quota      bool          // there is a quota for all of them
	releases   bool          // a hang can be judged only when the guard has its processor back
	within     time.Duration // from the verdict until the successor is up, under the load; 0: no limit
}

// acts are the scenes in their order; those of one act are played at the same
// time, each with a load of its own. All acts take the same time.
func acts() [][]scene {
	a, b, both := []string{nameA}, []string{nameB}, []string{nameA, nameB}
	return [][]scene{
		{{name: "busy", what: "256 busy processes", busy: 256, starve: both, within: 3 * time.Second}},
		{{name: "peer", what: "the peer SCHED_IDLE beside 8 at nice -20", busy: 8, nice: -20, starve: b, least: true}},
		{{name: "quota", what: "the peer and 8 busy processes in a cgroup with a quota", busy: 8, starve: b, quota: true}},
		{
			{name: "guard", what: "the guard SCHED_IDLE beside 8 at nice -20", busy: 8, nice: -20, starve: a, least: true, releases: true},
			{name: "both", what: "both SCHED_IDLE beside 8 at nice -20", busy: 8, nice: -20, starve: both, least: true, releases: true},
		},
	}
}

// play is a scene on the stage.
type play struct {
	scene
	exe   string // what the members are: this command
	watch time.Duration
	tests bool // other tests use the machine at the same time
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
	if load, busy := busyAlready(); busy && p.tests && p.within > 0 {
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
	for _, name := range p.starve {
		if err := p.load.join(p.pair.Observer.Holder(name)); err != nil {
			return err
		}
	}
	if err := p.load.burn(p.busy, p.nice); err != nil {
		return err
	}
	if !p.least {
		return nil
	}
	for _, name := range p.starve {
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
	return p.saidLate(events, time.Now())
}

// saidLate: whoever could run has said of a silent peer that it is late. Looking at
// it takes a fraction of a second; it has much longer.
func (p *play) saidLate(events []pairguard.Event, end time.Time) error {
	const enough = 5 * time.Second
	for i, e := range events {
		if e.Kind != pairguard.PeerSuspect || slices.Contains(p.starve, e.Self) {
			continue
		}
		over, said := end, false
		for _, next := range events[i+1:] {
			if next.Self == e.Self && next.Kind == pairguard.PeerUp {
				over = next.Time
				break
			}
			said = said || next.Self == e.Self && next.Kind == pairguard.PeerLate
		}
		if !said && over.Sub(e.Time) > enough {
			return fmt.Errorf("%s was silent for %v, and %s has not said that it is late", e.Peer, over.Sub(e.Time)+pairguard.DefaultTimeout, e.Self)
		}
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

// afterRelease is how long it may take from the moment when the guard has its
// processor back: a whole timeout of sleep, since it may be in a pause of its work,
// a verdict, and a start.
const afterRelease = 5 * time.Second

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
	from := "under the load"
	if p.releases {
		if err := pause(ctx, 5*time.Second); err != nil {
			return err
		}
		if err := p.load.release(); err != nil {
			return err
		}
		began, from = time.Now(), "from the release of the load"
	}
	hung, up, err := p.awaitReplaced(ctx, old)
	if err != nil {
		p.trace(began)
		return err
	}
	if hung.Time.Before(began) {
		began = hung.Time
	}
	replaced, owed := up.Time.Sub(began), up.Time.Sub(hung.Time)
	p.say("%-7s   %-9s judged after %v, replaced %v after the verdict, %v %s: %s", p.name, fault,
		hung.Time.Sub(began).Round(time.Millisecond), owed.Round(time.Millisecond), replaced.Round(time.Millisecond), from, hung.Reason)
	p.trace(began)
	switch {
	case p.within > 0 && owed > p.within:
		return fmt.Errorf("it took %v from the verdict until its successor was up, more than %v", owed, p.within)
	case p.releases && replaced > afterRelease:
		return fmt.Errorf("it took %v from the release of the load to its successor, more than %v", replaced, afterRelease)
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

func (p *play) awaitReplaced(ctx context.Context, old int) (hung, up pairguard.Event, err error) {
	for {
		events, err := p.events(time.Time{})
		if err != nil {
			return hung, up, err
		}
		i := slices.IndexFunc(events, func(e pairguard.Event) bool { return e.Kind == pairguard.PeerHung && e.PeerPID == old })
		if i >= 0 {
			hung = events[i]
			for _, e := range events[i:] {
				if e.Self == nameA && e.PeerPID != old && e.Kind == pairguard.PeerUp {
					return hung, e, nil
				}
			}
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return hung, up, fmt.Errorf("not replaced: %w; judged: %v %s", err, !hung.Time.IsZero(), hung.Reason)
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
		p.say("%-7s   %8v %s %-12s %d %s", p.name, e.Time.Sub(since).Round(time.Millisecond), e.Self, e.Kind, e.PeerPID, e.Reason)
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
