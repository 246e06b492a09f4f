package pairguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

const (
	// killPatience is how long a killed process may take to be gone before the
	// stop gives it up and says so: the kernel first tears down its memory.
	killPatience = 3 * time.Second
	// leastPatience is how long a member may take to answer LOOK, however short the
	// grace is.
	leastPatience = 50 * time.Millisecond
	// aftershock is how long after the end of a plain peer a guard may still appear
	// that it started right before.
	aftershock = 500 * time.Millisecond
	// stopReason stands in the record and in the members' events.
	stopReason = "stop by the operator"
)

// What [Folder.Stop] did about a process.
const (
	HowAbsent = "was not running"
	HowEnded  = "ended"
	HowKilled = "was killed"
	HowAlive  = "is still there"
)

// StopReport says what a stop found and did.
type StopReport struct {
	Members []StoppedMember
}

// StoppedMember is one process of a stopped pair, or a name that had none.
type StoppedMember struct {
	Name string
	PID  int    // 0: none, or not visible from here
	How  string // HowAbsent, HowEnded, HowKilled, HowAlive
}

// Stop ends the pairs of the named members (without names: every pair in the
// folder) and returns when the death of every process is proved. The pair's stop
// is stored first: from that instant neither member is started again until a
// person does it. Members have grace to end by themselves; who is left is killed,
// processes that are no members first, because they would start us again. A
// process that cannot be killed is an error, after grace and a few seconds more.
// Stopping what is stopped is no error. Cancelling ctx gives up waiting; what was
// announced stays.
func (f *Folder) Stop(ctx context.Context, grace time.Duration, names ...string) (StopReport, error) {
	known, err := f.roster()
	if err != nil {
		return StopReport{}, err
	}
	chosen, err := f.choose(known, names)
	if err != nil {
		return StopReport{}, err
	}
	all := pairs(known, chosen)
	stops := make([]*pairStop, len(all))
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		stops[i] = &pairStop{f: f, pair: p, deadline: time.Now().Add(max(grace, 0))}
		wg.Go(func() { errs[i] = stops[i].run(ctx) })
	}
	wg.Wait()
	var report StopReport
	for _, s := range stops {
		report.Members = append(report.Members, s.report()...)
	}
	return report, errors.Join(errs...)
}

// pairStop is the stop of one pair. Owned by one goroutine.
type pairStop struct {
	f        *Folder
	pair     pairOf
	deadline time.Time // of the grace
	targets  []*stopTarget
}

// run stores the stop, tells the members, waits, kills, and looks again until
// nothing of the pair is left: a revival that was under way when the stop was
// stored may still put a process there.
func (s *pairStop) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the goroutines that watch locks
	defer s.close()
	// Who runs is found before the stop is stored as well: from then on members may
	// end faster than they can be looked for.
	before, err := s.collect(ctx)
	if err != nil {
		return err
	}
	if err := s.announce(); err != nil {
		return err
	}
	for waited := false; ; {
		if superseded, err := s.superseded(); superseded || err != nil {
			return err
		}
		fresh, err := s.collect(ctx)
		if err != nil {
			return err
		}
		fresh, before = append(before, fresh...), nil
		if len(fresh) == 0 && (waited || !s.endedPlain()) {
			return nil
		}
		if len(fresh) == 0 {
			waited = true
			if err := s.listenForAftershock(ctx); err != nil {
				return err
			}
			continue
		}
		if err := s.endWrappers(ctx, fresh); err != nil {
			return err
		}
		s.tell(ctx, fresh)
		if err := s.await(ctx, fresh, s.deadline); err != nil {
			return err
		}
		if superseded, err := s.superseded(); superseded || err != nil {
			return err
		}
		for _, members := range []bool{false, true} {
			if err := s.kill(ctx, fresh, members); err != nil {
				return err
			}
		}
	}
}

// endedPlain reports whether a process was ended that may have been a plain peer,
// whose own timer starts its guard.
func (s *pairStop) endedPlain() bool {
	return slices.ContainsFunc(s.targets, func(t *stopTarget) bool { return !t.member && t.name.PlainPermitted() })
}

// listenForAftershock waits a moment. While we live a guard that appears honours the
// stop ([Member.resume]); later it would be taken for one that a person started.
func (s *pairStop) listenForAftershock(ctx context.Context) error {
	select {
	case <-time.After(aftershock):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pairguard: stop of %s and %s: %w", s.pair.a.name, s.pair.b.name, ctx.Err())
	}
}

// announce stores the stop. Its rename is the instant of stopping.
func (s *pairStop) announce() error {
	self, err := proc.Self()
	if err != nil {
		return fmt.Errorf("pairguard: stop: %w", err)
	}
	a, b := s.pair.a, s.pair.b
	g := pairdir.Goodbye{
		Name: a.name.String(), Peer: b.name.String(), Generation: a.life.Generation,
		Process: self, Reason: stopReason,
	}
	if err := s.f.dir.StoreStop(a.name, b.name, g); err != nil {
		return fmt.Errorf("pairguard: the stop of %s and %s cannot be stored, nothing was ended: %w", a.name, b.name, err)
	}
	return nil
}

// superseded reports whether a person started the pair again meanwhile: then what
// runs now is not ours to end.
func (s *pairStop) superseded() (bool, error) {
	_, stopped, err := s.f.dir.ReadStop(s.pair.a.name, s.pair.b.name)
	if err != nil {
		return false, fmt.Errorf("pairguard: stop: %w", err)
	}
	return !stopped, nil
}

// tell makes the members look at the folder. A process that is no member is ended
// by the one that guards it; if that one is silent, it is asked from here.
func (s *pairStop) tell(ctx context.Context, fresh []*stopTarget) {
	names := map[string]pairdir.Name{}
	for _, t := range fresh {
		if t.member {
			names[t.name.Key()] = t.name
		}
	}
	// A silent guard must not use up the grace of the one that it guards.
	ctx, cancel := context.WithTimeout(ctx, max(time.Until(s.deadline)/4, leastPatience))
	defer cancel()
	answered := s.f.lookAll(ctx, names)
	for _, t := range fresh {
		guard := s.pair.a.name
		if guard.Key() == t.name.Key() {
			guard = s.pair.b.name
		}
		if !t.member && !answered[guard.Key()] {
			// Where a process cannot be asked it is killed after the grace.
			_ = t.handle.Terminate()
		}
	}
}

// endWrappers ends what was started under the name of a member and is another process:
// it may start its program, the member, again by itself, which looks like a start by
// a person. It has half of what is left of the grace.
func (s *pairStop) endWrappers(ctx context.Context, fresh []*stopTarget) error {
	var wrappers []*stopTarget
	for _, t := range fresh {
		member := func(o *stopTarget) bool { return o.member && o.name == t.name && !o.gone() }
		if !t.member && slices.ContainsFunc(s.targets, member) {
			_ = t.handle.Terminate() // where it cannot be asked it is killed below
			wrappers = append(wrappers, t)
		}
	}
	if len(wrappers) == 0 {
		return nil
	}
	if err := s.await(ctx, wrappers, time.Now().Add(time.Until(s.deadline)/2)); err != nil {
		return err
	}
	return s.kill(ctx, wrappers, false)
}

// await waits until all are gone or until the deadline, which is no error.
func (s *pairStop) await(ctx context.Context, targets []*stopTarget, deadline time.Time) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for _, t := range targets {
		select {
		case <-t.done:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("pairguard: stop of %s and %s is announced, but not waited for: %w", s.pair.a.name, s.pair.b.name, ctx.Err())
		}
	}
	return nil
}

// kill ends who is left, the members or the others, and waits for the proof.
func (s *pairStop) kill(ctx context.Context, targets []*stopTarget, members bool) error {
	var left []*stopTarget
	for _, t := range targets {
		if t.member != members || t.gone() {
			continue
		}
		left = append(left, t)
		if t.handle == nil {
			continue
		}
		if err := t.handle.Kill(); err != nil {
			return fmt.Errorf("pairguard: stop: %s: process %d: %w", t.name, t.pid, err)
		}
		t.killed = true
	}
	if len(left) == 0 {
		return nil
	}
	if err := s.await(ctx, left, time.Now().Add(killPatience)); err != nil {
		return err
	}
	for _, t := range left {
		switch {
		case t.gone():
		case t.handle != nil:
			return fmt.Errorf("pairguard: stop: %s: process %d was killed and is not gone yet (waiting for a disk?): it will not be started again", t.name, t.pid)
		case t.pid == 0:
			return fmt.Errorf("pairguard: stop: %s is held by a process that is not visible from here: end it where it runs", t.name)
		default:
			return fmt.Errorf("pairguard: stop: %s is this very process (%d): end its Run", t.name, t.pid)
		}
	}
	return nil
}

// report says what became of each name of the pair.
func (s *pairStop) report() []StoppedMember {
	var report []StoppedMember
	for _, m := range s.pair.members() {
		found := false
		for _, t := range s.targets {
			if t.name.Key() != m.name.Key() {
				continue
			}
			found = true
			how := HowEnded
			switch {
			case !t.gone():
				how = HowAlive
			case t.killed:
				how = HowKilled
			}
			report = append(report, StoppedMember{Name: m.name.String(), PID: t.pid, How: how})
		}
		if !found {
			report = append(report, StoppedMember{Name: m.name.String(), How: HowAbsent})
		}
	}
	return report
}
