package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
	"github.com/pairguard/pairguard/internal/control"
)

const name = "lines"

// scene is one folder with its supervisors and the program.
type scene struct {
	*stage.Supervisors
	plan   plan
	seed   uint64
	random *rand.Rand
	self   string
	before control.Status // with the program as it was started
	times  map[string][]time.Duration
}

func newScene(ctx context.Context, p plan) (*scene, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	st, err := stage.NewWith(ctx, "f")
	if err != nil {
		return nil, err
	}
	s := &scene{plan: p, seed: rand.Uint64(), self: self, times: map[string][]time.Duration{}}
	s.random = rand.New(rand.NewPCG(s.seed, 0))
	if s.Supervisors, err = st.Supervise(); err != nil {
		return nil, errors.Join(err, st.Close(true))
	}
	return s, nil
}

func (s *scene) begin(ctx context.Context) error {
	def := s.Define(name, s.self, "lines", strconv.Itoa(s.plan.rate))
	def.Log.Size, def.Log.Keep = s.plan.size, 1000
	r, err := s.Client.Run(ctx, control.RunParams{Program: def, Request: "custody"})
	if err != nil {
		return err
	}
	if r.PID == 0 {
		return fmt.Errorf("the program was not started: %s", r.Reason)
	}
	_, s.before, err = s.AwaitGuarded(ctx)
	return err
}

// guarded waits until the standby has everything, and checks the program.
func (s *scene) guarded(ctx context.Context, but ...int) (map[string]int, error) {
	pids, now, err := s.AwaitGuarded(ctx, but...)
	if err != nil {
		return nil, err
	}
	return pids, stage.CheckSame(s.before, now)
}

// strike sends a signal to the supervisors with these roles and waits until both are
// there again.
func (s *scene) strike(ctx context.Context, what string, sig syscall.Signal, roles ...string) error {
	pids, err := s.guarded(ctx)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(s.random.Int64N(int64(20 * time.Millisecond)))) // anywhere in what they do
	var struck []int
	began := time.Now()
	for _, role := range roles {
		if err := syscall.Kill(pids[role], sig); err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
		struck = append(struck, pids[role])
	}
	if _, err := s.guarded(ctx, struck...); err != nil {
		return fmt.Errorf("after %s: %w", what, err)
	}
	s.times[what] = append(s.times[what], time.Since(began))
	return nil
}

func (s *scene) killActive(ctx context.Context) error {
	return s.strike(ctx, "kill of the active one", syscall.SIGKILL, control.RoleActive)
}

func (s *scene) killStandby(ctx context.Context) error {
	return s.strike(ctx, "kill of the standby", syscall.SIGKILL, control.RoleStandby)
}

// killBoth: the next request is the person who starts them again.
func (s *scene) killBoth(ctx context.Context) error {
	return s.strike(ctx, "kill of both", syscall.SIGKILL, control.RoleActive, control.RoleStandby)
}

func (s *scene) stopActive(ctx context.Context) error {
	return s.strike(ctx, "SIGSTOP of the active one", syscall.SIGSTOP, control.RoleActive)
}

func (s *scene) stopStandby(ctx context.Context) error {
	return s.strike(ctx, "SIGSTOP of the standby", syscall.SIGSTOP, control.RoleStandby)
}

// finish ends the program and reads what it has printed.
func (s *scene) finish(ctx context.Context, took time.Duration) error {
	if _, err := s.guarded(ctx); err != nil {
		return err
	}
	if _, err := s.Client.Stop(ctx, control.StopParams{}); err != nil {
		return err
	}
	if _, err := s.Client.Wait(ctx, control.WaitParams{Name: name}); err != nil {
		return err
	}
	printed, logs, err := s.check()
	if err != nil {
		return err
	}
	for what, times := range s.times {
		slices.Sort(times)
		fmt.Printf("%-28s %4d times; both there again after p50 %v, max %v\n", what, len(times),
			times[len(times)/2].Round(time.Millisecond/10), times[len(times)-1].Round(time.Millisecond))
	}
	fmt.Printf("%d lines in %d logs, each once and in order; the program was one process throughout, for %v\n", printed, logs, took.Round(time.Second))
	if logs-1 < s.plan.rotations {
		return fmt.Errorf("%d rotations, at least %d were wanted", logs-1, s.plan.rotations)
	}
	fmt.Println("PASS")
	return nil
}

// check reads all logs, the oldest first: 1, 2, 3, ...
func (s *scene) check() (printed, logs int, err error) {
	path := filepath.Join(s.Dir, "logs", name+".log")
	for n := 1000; n >= 0; n-- {
		file := path
		if n > 0 {
			file = path + "." + strconv.Itoa(n)
		}
		f, err := os.Open(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		logs++
		printed, err = follow(f, printed)
		f.Close()
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	return printed, logs, nil
}

// follow checks that the lines of r go on after last.
func follow(r io.Reader, last int) (int, error) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return last, nil
		}
		if want := strconv.Itoa(last + 1); line != want+"\n" {
			return last, fmt.Errorf("%q after line %d", line, last)
		}
		last++
	}
}

// close ends everything and makes sure that nothing is left. After a failure the folder
// is kept for a look.
func (s *scene) close(failed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
	defer cancel()
	if err := s.Down(ctx); err != nil || failed {
		return errors.Join(err, fmt.Errorf("%s is left for a look", s.Dir))
	}
	return s.Close(false)
}
