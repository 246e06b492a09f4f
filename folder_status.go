package pairguard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/wire"
)

// lookPatience is how long a member has to answer LOOK. A stopped one accepts
// the connection (the kernel does that for it) and never answers.
const lookPatience = 500 * time.Millisecond

// Phases of a [MemberStatus] beyond those that a member tells of itself.
const (
	PhaseSilent = "silent" // its process lives and does not answer
	PhaseDown   = "down"   // it should be there and is not
	PhaseEnded  = "ended"  // it left or was stopped
)

// MemberStatus is what a [Folder] knows of one member.
type MemberStatus struct {
	// Status is the member's own word; when it does not answer, what the folder
	// knows of it.
	Status
	// Running: its process lives.
	Running bool
	// HoldLeft is how long a person's hold of this member still lasts; 0: not held.
	HoldLeft time.Duration
	// Note says in words what the phase does not; may be empty.
	Note string
}

// Members returns every member that is or should be there, in the order of their
// names. One that left or was stopped is returned only when it is named. Members
// that do not answer within half a second are in [PhaseSilent].
func (f *Folder) Members(ctx context.Context, names ...string) ([]MemberStatus, error) {
	known, err := f.roster()
	if err != nil {
		return nil, err
	}
	chosen, err := f.choose(known, names)
	if err != nil {
		return nil, err
	}
	// All known ones are asked: what is known of a plain peer is its guard's word.
	all := make([]MemberStatus, len(known))
	errs := make([]error, len(known))
	var wg sync.WaitGroup
	for i, e := range known {
		wg.Go(func() { all[i], errs[i] = f.inspect(ctx, e) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	byKey := map[string]MemberStatus{}
	for i, e := range known {
		byKey[e.name.Key()] = all[i]
	}
	var result []MemberStatus
	for _, e := range chosen {
		m := byKey[e.name.Key()]
		if !e.lived {
			m = seenByGuard(m, byKey[e.peer.Key()])
		}
		if m.Phase == PhaseSilent && m.PeerPID == 0 {
			m.PeerPID = byKey[e.peer.Key()].PID
		}
		if len(names) > 0 || m.Phase != PhaseEnded {
			result = append(result, m)
		}
	}
	return result, nil
}

// inspect finds out about one member from its lock, its own answer, and records.
func (f *Folder) inspect(ctx context.Context, e rosterEntry) (MemberStatus, error) {
	m := MemberStatus{Status: Status{Self: e.name.String(), Peer: e.peer.String(), Generation: e.life.Generation}}
	// A damaged hold is set aside by whoever reads it and counts as none.
	if left, _, err := f.dir.ReadHold(e.name); err == nil && left > 0 {
		m.HoldLeft = left
	}
	holder, err := f.dir.Holder(e.name)
	if err != nil {
		return m, fmt.Errorf("pairguard: %s: %w", e.name, err)
	}
	if holder.Held {
		m.PID, m.Running = holder.PID, true
		answer, lookErr := look(ctx, e.name)
		if lookErr == nil {
			m.fill(answer)
			return m, nil
		}
		// It may have died since.
		if holder, err = f.dir.Holder(e.name); err == nil && holder.Held {
			m.Phase, m.Note = PhaseSilent, "does not answer"
			return m, nil
		}
		m.PID, m.Running = 0, false
	}
	return f.absent(m, e), nil
}

// fill takes over a member's own word, except the names: on the wire a long one
// is shortened.
func (m *MemberStatus) fill(s wire.Status) {
	m.PID, m.PeerPID, m.Phase = s.PID, s.PeerPID, s.Phase
	m.Plain, m.GuardsHang = s.Plain, s.GuardsHang
	m.Generation, m.Revived, m.Held = s.Generation, s.Revived, s.Held
}

// absent says why nobody holds the name.
func (f *Folder) absent(m MemberStatus, e rosterEntry) MemberStatus {
	if g, ok, err := f.dir.ReadStop(e.name, e.peer); ok || err != nil {
		m.Phase, m.Note = PhaseEnded, "stopped"+because(g.Reason)
	} else if g, ok, err := f.dir.ReadLeave(e.name); ok || err != nil {
		m.Phase, m.Note = PhaseEnded, "left"+because(g.Reason)
	} else {
		m.Phase = PhaseDown
	}
	if h := f.spawned(e.name); h != nil {
		m.PID, m.Running, m.Phase, m.Note = h.PID(), true, PhaseSilent, "was started and says nothing"
		h.Close()
	}
	return m
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// seenByGuard completes what is known of a process that is no member itself by
// the word of the one that guards it.
func seenByGuard(m, guard MemberStatus) MemberStatus {
	if !guard.Running || guard.PeerPID == 0 {
		return m
	}
	m.PID, m.Running, m.PeerPID, m.Phase = guard.PeerPID, true, guard.PID, PhaseSilent
	m.Note = "is no member; guarded against death only"
	if guard.Plain {
		m.Note = "is a plain peer"
	}
	return m
}

// spawned returns a handle on the process that was started under the name, nil
// when there is none or it is gone.
func (f *Folder) spawned(n pairdir.Name) *proc.Handle {
	s, ok, err := f.dir.ReadSpawn(n)
	if err != nil || !ok || s.Process == nil && !proc.Gone(s.By) {
		return nil
	}
	h, err := openSpawned(s)
	if err != nil {
		return nil
	}
	return h
}

// look makes the member read the folder again and returns its answer.
func look(ctx context.Context, n pairdir.Name) (wire.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	c, err := ipc.Dial(ctx, n.Address())
	if err != nil {
		return wire.Status{}, err
	}
	defer c.Close()
	peer, err := c.Peer()
	if err != nil {
		return wire.Status{}, err
	}
	if err := peer.Trusted(); err != nil {
		return wire.Status{}, err
	}
	deadline, _ := ctx.Deadline()
	if err := c.SetReadDeadline(deadline); err != nil {
		return wire.Status{}, err
	}
	if err := c.Send(wire.Append(nil, wire.Look{})); err != nil {
		return wire.Status{}, err
	}
	return readStatus(c)
}

func readStatus(c *ipc.Conn) (wire.Status, error) {
	var s wire.Scanner
	chunk := make([]byte, wire.MaxLine)
	for {
		n, err := c.Read(chunk)
		s.Feed(chunk[:n])
		for {
			m, ok, scanErr := s.Next()
			if scanErr != nil {
				return wire.Status{}, scanErr
			}
			if !ok {
				break
			}
			if status, ok := m.(wire.Status); ok {
				return status, nil
			}
		}
		if err != nil {
			return wire.Status{}, err
		}
	}
}

// lookAll makes all of them read the folder again, at the same time, and returns
// the keys of those that answered.
func (f *Folder) lookAll(ctx context.Context, names map[string]pairdir.Name) map[string]bool {
	var mu sync.Mutex // guards answered
	answered := map[string]bool{}
	var wg sync.WaitGroup
	for key, n := range names {
		wg.Go(func() {
			if _, err := look(ctx, n); err == nil {
				mu.Lock()
				answered[key] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return answered
}
