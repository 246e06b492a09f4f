package pairguard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

// lockPoll is how often a lock is looked at whose holder gives no handle.
const lockPoll = 20 * time.Millisecond

// stopTarget is one process that has to go.
type stopTarget struct {
	name   pairdir.Name
	pid    int
	member bool            // it holds the name; else it was only started under it
	handle *proc.Handle    // nil: it holds the name, and we cannot or must not kill it
	done   <-chan struct{} // closed when its end is proved
	killed bool
}

// same reports whether both are one process.
func (t *stopTarget) same(o *stopTarget) bool {
	if t.handle == nil || o.handle == nil {
		return t.handle == o.handle && t.name == o.name && !o.gone()
	}
	return t.handle.ID() == o.handle.ID()
}

func (t *stopTarget) gone() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// collect finds the processes of the pair that are not targets yet.
func (s *pairStop) collect(ctx context.Context) ([]*stopTarget, error) {
	var fresh []*stopTarget
	for _, m := range s.pair.members() {
		t, err := s.holder(ctx, m.name)
		if err != nil {
			return nil, err
		}
		if t != nil && !s.knows(t) {
			fresh = append(fresh, t)
		}
		others := []*proc.Handle{s.f.spawned(m.name)}
		if t == nil && m.name.PlainPermitted() {
			others = append(others, plainPeer(ctx, m.name))
		}
		for _, h := range others {
			if t := s.other(m.name, h, fresh); t != nil {
				fresh = append(fresh, t)
			}
		}
	}
	s.targets = append(s.targets, fresh...)
	return fresh, nil
}

// other makes a target of a process that is no member, nil when it is one already.
func (s *pairStop) other(n pairdir.Name, h *proc.Handle, fresh []*stopTarget) *stopTarget {
	if h == nil {
		return nil
	}
	t := &stopTarget{name: n, pid: h.PID(), handle: h, done: h.Done()}
	if s.knows(t) {
		return nil
	}
	if slices.ContainsFunc(fresh, t.same) || t.pid == os.Getpid() {
		h.Close()
		return nil
	}
	return t
}

// knows reports whether the process of t is a target already; then t is closed.
func (s *pairStop) knows(t *stopTarget) bool {
	known := slices.ContainsFunc(s.targets, t.same)
	if known && t.handle != nil {
		t.handle.Close()
	}
	return known
}

// plainPeer returns a handle on the process that listens where a plain peer may,
// nil when there is none.
func plainPeer(ctx context.Context, n pairdir.Name) *proc.Handle {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	c, err := ipc.Dial(ctx, n.Address())
	if err != nil {
		return nil
	}
	defer c.Close()
	peer, err := c.Peer()
	if err != nil || peer.Trusted() != nil {
		return nil
	}
	h, err := peer.Open()
	if err != nil {
		return nil
	}
	return h
}

// holder makes a target of the process that holds the name, nil when nobody does.
// The lock is asked again after the handle was opened, so that the handle is that
// of the holder and of nobody who got its number later.
func (s *pairStop) holder(ctx context.Context, n pairdir.Name) (*stopTarget, error) {
	for {
		was, err := s.f.dir.Holder(n)
		if err != nil {
			return nil, fmt.Errorf("pairguard: stop: %s: %w", n, err)
		}
		if !was.Held {
			return nil, nil
		}
		t := &stopTarget{name: n, pid: was.PID, member: true}
		// This very process may be the member; it ends by itself when it looks.
		if was.PID == 0 || was.PID == os.Getpid() {
			t.done = s.watchLock(ctx, n)
			return t, nil
		}
		h, err := proc.Open(was.PID)
		if err != nil && !errors.Is(err, proc.ErrGone) {
			return nil, fmt.Errorf("pairguard: stop: %s: %w", n, err)
		}
		if err == nil {
			if now, err := s.f.dir.Holder(n); err == nil && now == was {
				t.handle, t.done = h, h.Done()
				return t, nil
			}
			h.Close()
		}
		// Somebody else holds it now, or the last one is just dying.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// watchLock closes done when the name is free.
func (s *pairStop) watchLock(ctx context.Context, n pairdir.Name) (done <-chan struct{}) {
	ch := make(chan struct{})
	go func() {
		tick := time.NewTicker(lockPoll)
		defer tick.Stop()
		for {
			if h, err := s.f.dir.Holder(n); err == nil && !h.Held {
				close(ch)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return ch
}

func (s *pairStop) close() {
	for _, t := range s.targets {
		if t.handle != nil {
			t.handle.Close()
		}
	}
}
