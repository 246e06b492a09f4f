package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/pairguard/pairguard"
)

// AwayLimit is how long a peer may be away at most, with the defaults.
const AwayLimit = 3 * time.Second

// Pair is a pair of guards on a stage, and who watches it.
type Pair struct {
	*Stage
	A, B     string
	First    *Actor // the process of A that a person has started
	Observer *Observer
}

// NewPair watches two names on a stage; nothing is started yet.
func (s *Stage) NewPair(a, b string) *Pair {
	return &Pair{Stage: s, A: a, B: b, Observer: s.Observe(a, b)}
}

// StartPair starts A, which starts B, and waits until both are up.
func (s *Stage) StartPair(ctx context.Context, a, b string, flags ...string) (*Pair, error) {
	p := s.NewPair(a, b)
	var err error
	if p.First, err = s.Guard(a, b, flags...); err != nil {
		return p, err
	}
	return p, p.AwaitUp(ctx)
}

// Peer is the other name.
func (p *Pair) Peer(name string) string {
	if name == p.A {
		return p.B
	}
	return p.A
}

// AwaitUp waits until both names are held, by exactly the two guards that there
// are, and each says that the other one is up.
func (p *Pair) AwaitUp(ctx context.Context) error {
	if err := p.AwaitTwo(ctx); err != nil {
		return err
	}
	return p.AwaitMembers(ctx)
}

// AwaitMembers waits until each of the two says that the other one is up.
func (p *Pair) AwaitMembers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for _, name := range []string{p.A, p.B} {
		if _, err := p.Observer.AwaitHolder(ctx, name); err != nil {
			return err
		}
	}
	folder, err := p.Folder()
	if err != nil {
		return err
	}
	tick := time.NewTicker(scanPause)
	defer tick.Stop()
	for {
		members, err := folder.Members(ctx, p.A, p.B)
		if err == nil && len(members) == 2 && p.sees(members[0]) && p.sees(members[1]) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s and %s are not both up: %+v: %w", p.A, p.B, members, errors.Join(ctx.Err(), err))
		}
	}
}

func (p *Pair) sees(m pairguard.MemberStatus) bool {
	return m.Phase == "up" && m.PID == p.Observer.Holder(m.Self) && m.PeerPID == p.Observer.Holder(m.Peer)
}

// AwaitTwo waits until both names are held, and no process is there but the two
// holders.
func (p *Pair) AwaitTwo(ctx context.Context) error {
	for _, name := range []string{p.A, p.B} {
		if _, err := p.Observer.AwaitHolder(ctx, name); err != nil {
			return err
		}
	}
	return p.AwaitProcesses(ctx, "exactly the two that hold the names", func(now []Process) bool {
		a, b := p.Observer.Holder(p.A), p.Observer.Holder(p.B)
		return len(now) == 2 && has(now, a) && has(now, b)
	})
}

func has(all []Process, pid int) bool {
	return slices.ContainsFunc(all, func(p Process) bool { return p.PID == pid })
}

// Replace sends a signal to the holder of a name and waits until another process
// holds it. away is from the signal to the first sample that saw the new holder;
// the old one must be gone by then.
func (p *Pair) Replace(ctx context.Context, name string, sig syscall.Signal) (away time.Duration, err error) {
	old, err := p.Observer.AwaitHolder(ctx, name)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := syscall.Kill(old.PID, sig); err != nil {
		return 0, fmt.Errorf("%s to process %d, which holds %s: %w", sig, old.PID, name, err)
	}
	successor, err := p.Observer.AwaitHolder(ctx, name, old.PID)
	if err != nil {
		return 0, err
	}
	if alive(old.PID) {
		return 0, fmt.Errorf("process %d holds %s although process %d still lives", successor.PID, name, old.PID)
	}
	return successor.From.Sub(began), nil
}

// KillInTurn kills n times the holder of one name and then of the other, each as
// soon as the one before is back, and sees to it that there are exactly two after
// every time. It returns how long each was away.
func (p *Pair) KillInTurn(ctx context.Context, n int, sig syscall.Signal) ([]time.Duration, error) {
	var all []time.Duration
	for i := range n {
		name := p.A
		if i%2 == 0 {
			name = p.B
		}
		away, err := p.Replace(ctx, name, sig)
		if err == nil {
			err = p.AwaitTwo(ctx)
		}
		if err != nil {
			return all, fmt.Errorf("%s number %d: %w", sig, i+1, err)
		}
		all = append(all, away)
	}
	return all, nil
}

// Quantile is the value below which the share q of all lies; all is sorted.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// StopPair ends the pair as a person does, and waits until nothing of it is left.
func (p *Pair) StopPair(ctx context.Context) error {
	_, err := p.Command(ctx, "stop", p.A)
	return errors.Join(err, p.AwaitProcesses(ctx, "nothing is left", func(now []Process) bool { return len(now) == 0 }))
}
