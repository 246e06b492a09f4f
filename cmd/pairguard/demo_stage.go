package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/proc"
)

// demoPause is left between two acts, for reading what happened.
const demoPause = 1500 * time.Millisecond

func pause(ctx context.Context) error {
	timer := time.NewTimer(demoPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// demoPoll is how often the demo looks at the event logs; its own measurements
// are that coarse.
const demoPoll = 5 * time.Millisecond

func event(self string, kind pairguard.EventKind) func(pairguard.Event) bool {
	return eventSince(self, kind, time.Time{})
}

func eventSince(self string, kind pairguard.EventKind, since time.Time) func(pairguard.Event) bool {
	return func(e pairguard.Event) bool { return e.Self == self && e.Kind == kind && !e.Time.Before(since) }
}

// wait waits until an event that matches stands in a log. alive, when given, must
// live as long.
func (s *stage) wait(ctx context.Context, what string, match func(pairguard.Event) bool, alive *proc.Handle) (pairguard.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, demoStep)
	defer cancel()
	var ended <-chan struct{}
	if alive != nil {
		ended = alive.Done()
	}
	tick := time.NewTicker(demoPoll)
	defer tick.Stop()
	for {
		events, err := s.folder.Events()
		if err != nil {
			return pairguard.Event{}, err
		}
		if i := slices.IndexFunc(events, match); i >= 0 {
			return events[i], nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return pairguard.Event{}, fmt.Errorf("pid %d ended (%v) before this happened: %s%s", alive.PID(), alive.Exit(), what, s.lastWords())
		case <-ctx.Done():
			return pairguard.Event{}, fmt.Errorf("not seen within %v: %s", demoStep, what)
		}
	}
}

// lastWords are the output of the first member, in case it could not even start.
func (s *stage) lastWords() string {
	text, err := os.ReadFile(s.dir + "/demo.log")
	if err != nil || len(text) == 0 {
		return ""
	}
	return ": " + string(text[:min(len(text), 500)])
}

// replaced waits until guard has the victim back. It proves that the old process
// is gone and that the new one is another, and says how long that took since began.
func (s *stage) replaced(ctx context.Context, victim, guard string, old *proc.Handle, began time.Time) (pairguard.Event, time.Duration, error) {
	back, err := s.wait(ctx, victim+" comes back", func(e pairguard.Event) bool {
		return eventSince(guard, pairguard.PeerUp, began)(e) && e.PeerPID != old.PID()
	}, s.cast[guard])
	took := time.Since(began)
	if err != nil {
		return back, took, err
	}
	if err := s.follow(victim, back.PeerPID); err != nil {
		return back, took, err
	}
	if demoProcessLives(old.ID()) {
		return back, took, fmt.Errorf("%s is back as pid %d although pid %d still lives", victim, back.PeerPID, old.PID())
	}
	return back, took, nil
}

// demoProcessLives asks the kernel anew instead of an open handle, whose proof reaches us a
// moment later than others. A zombie is dead.
func demoProcessLives(id proc.ID) bool {
	h, err := proc.Reopen(id)
	if err != nil {
		return !errors.Is(err, proc.ErrGone)
	}
	defer h.Close()
	select {
	case <-h.Done():
		return false
	default:
		return true
	}
}

// follow opens a handle on the process that plays name now.
func (s *stage) follow(name string, pid int) error {
	h, err := proc.Open(pid)
	if err != nil {
		return fmt.Errorf("%s (pid %d): %w", name, pid, err)
	}
	s.enter(name, h)
	return nil
}

func (s *stage) enter(name string, h *proc.Handle) {
	s.cast[name] = h
	s.former = append(s.former, h)
}

// show prints the pair as `pairguard status` sees it, and fails unless both run
// as the processes that the demo follows and each is up for the other.
func (s *stage) show(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoStep)
	defer cancel()
	tick := time.NewTicker(demoPoll)
	defer tick.Stop()
	for {
		members, err := s.folder.Members(ctx)
		if err != nil {
			return err
		}
		if s.settled(members) {
			for _, m := range members {
				fmt.Fprintf(s.w, "        %s  pid %-7d guards %s (pid %d)\n", m.Self, m.PID, m.Peer, m.PeerPID)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the pair did not settle within %v: %+v", demoStep, members)
		}
	}
}

func (s *stage) settled(members []pairguard.MemberStatus) bool {
	if len(members) != 2 {
		return false
	}
	for _, m := range members {
		if !m.Running || m.PID != s.cast[m.Self].PID() || m.Phase != "up" || m.PeerPID != s.cast[m.Peer].PID() {
			return false
		}
	}
	return true
}

// clear ends whatever is left of the pair, proves that it is gone, and removes
// the folder. It does so even after a Ctrl-C, hence no context of the caller.
func (s *stage) clear() error {
	ctx, cancel := context.WithTimeout(context.Background(), demoStep)
	defer cancel()
	_, stopErr := s.folder.Stop(ctx, time.Second)
	var errs []error
	for _, h := range s.former {
		// The handles see also what never became a member.
		errs = append(errs, h.Kill(), gone(ctx, h))
		h.Close()
	}
	members, err := s.folder.Members(ctx)
	errs = append(errs, stopErr, err)
	for _, m := range members {
		if m.Running {
			errs = append(errs, fmt.Errorf("%s (pid %d) is still there", m.Self, m.PID))
		}
	}
	errs = append(errs, os.RemoveAll(s.dir))
	if _, err := os.Lstat(s.dir); err == nil {
		errs = append(errs, fmt.Errorf("the folder %s is still there", s.dir))
	}
	return errors.Join(errs...)
}

// gone waits for the proof that h has ended.
func gone(ctx context.Context, h *proc.Handle) error {
	select {
	case <-h.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pid %d does not go away", h.PID())
	}
}
