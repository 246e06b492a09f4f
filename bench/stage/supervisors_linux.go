package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/supervisor"
)

// askPause is the time between two questions to supervisors that are not as wanted.
const askPause = time.Millisecond

// Supervisors are those of a stage's folder, as their clients see them.
type Supervisors struct {
	*Stage
	Client *control.Client
}

// Supervise returns a client of the stage's supervisors, which are started with
// "pairguard supervise" whenever nobody answers a question.
func (s *Stage) Supervise() (*Supervisors, error) {
	client, err := supervisor.NewClient(s.Dir, func(context.Context) error {
		_, err := s.Start(s.Binary, "supervise", control.First, control.Second, "--dir="+s.Dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Supervisors{Stage: s, Client: client}, nil
}

// AwaitGuarded asks until the standby has everything and neither supervisor is one of
// the processes in but. It returns their processes by role.
func (v *Supervisors) AwaitGuarded(ctx context.Context, but ...int) (pids map[string]int, st control.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if st, err = v.Client.Status(ctx, control.NamesParams{}); err != nil {
			return nil, st, err
		}
		pids = map[string]int{}
		for _, one := range st.Supervisors {
			pids[one.Role] = one.PID
		}
		if st.Guarded && !slices.Contains(but, pids[control.RoleActive]) && !slices.Contains(but, pids[control.RoleStandby]) {
			return pids, st, nil
		}
		select {
		case <-ctx.Done():
			return nil, st, fmt.Errorf("not guarded: %s: %w", st.WhyNotGuarded, ctx.Err())
		case <-time.After(askPause):
		}
	}
}

// TakenOver is how one takeover went.
type TakenOver struct {
	Serves, Guarded time.Duration // since just before the kill: until the other one answered; until both are there
}

// TakeOver kills the active supervisor, waits for the answer of the other one and until
// both are there again, and sees to it that every program of before is the process that
// it was.
func (v *Supervisors) TakeOver(ctx context.Context, before control.Status) (t TakenOver, err error) {
	pids, _, err := v.AwaitGuarded(ctx)
	if err != nil {
		return t, err
	}
	began := time.Now()
	if err := syscall.Kill(pids[control.RoleActive], syscall.SIGKILL); err != nil {
		return t, err
	}
	if _, err := v.Client.Status(ctx, control.NamesParams{}); err != nil {
		return t, err
	}
	t.Serves = time.Since(began)
	now, st, err := v.AwaitGuarded(ctx, pids[control.RoleActive])
	if err != nil {
		return t, err
	}
	t.Guarded = time.Since(began)
	if now[control.RoleActive] != pids[control.RoleStandby] {
		return t, fmt.Errorf("process %d acts, the standby was %d", now[control.RoleActive], pids[control.RoleStandby])
	}
	return t, CheckSame(before, st)
}

// Down ends all programs and the supervisors, and waits until both are gone.
func (v *Supervisors) Down(ctx context.Context) error {
	_, err := v.Client.Down(ctx, control.DownParams{})
	if errors.Is(err, ipc.ErrAbsent) {
		err = nil
	}
	if err != nil {
		return err
	}
	return v.AwaitProcesses(ctx, "no supervisor is left", func(now []Process) bool {
		return !slices.ContainsFunc(now, func(p Process) bool { return p.Is(v.Binary, "supervise") })
	})
}

// Define is a definition of a program of the stage, with its environment.
func (s *Stage) Define(name string, command ...string) control.Definition {
	def := control.Default()
	def.Name, def.Command, def.Dir, def.Inherit = name, command, s.Root, s.Environ()
	return def
}

// CheckSame is an error when a program is not the running process that it was.
func CheckSame(before, after control.Status) error {
	if len(before.Programs) != len(after.Programs) {
		return fmt.Errorf("%d programs were there, %d are", len(before.Programs), len(after.Programs))
	}
	for i, was := range before.Programs {
		if is := after.Programs[i]; is.Name != was.Name || is.PID != was.PID || is.Generation != was.Generation || is.State != was.State {
			return fmt.Errorf("%s was %s, process %d, life %d; it is %s, process %d, life %d", was.Name, was.State, was.PID, was.Generation,
				is.State, is.PID, is.Generation)
		}
	}
	return nil
}
