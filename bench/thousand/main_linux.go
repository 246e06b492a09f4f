package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
	"github.com/pairguard/pairguard/internal/control"
)

const (
	maxMemory  = 8000 // bytes of RSS, a program more in each supervisor
	maxThreads = 32   // of each supervisor, however many programs there are
	maxRatio   = 1.5  // of the medians, until all are back
	few        = 10   // programs to begin with: what does not depend on their number
)

func main() {
	n := flag.Int("programs", 1000, "programs under guard")
	rounds := flag.Int("rounds", 9, "how often all are killed at once, under bareloop and under pairguard in turn")
	settle := flag.Duration("settle", 5*time.Second, "how long everything rests before memory is read")
	flag.Parse()
	if err := run(*n, *rounds, *settle); err != nil {
		fmt.Fprintln(os.Stderr, "thousand:", err)
		os.Exit(1)
	}
}

// scene is what is measured, and what came of it.
type scene struct {
	*stage.Supervisors
	stamp, bareloop string
	n               int
	missed          []string
}

func run(n, rounds int, settle time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	st, err := stage.NewWith(ctx, "f", "stamp", "bareloop")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close(true)) }()
	s := &scene{stamp: st.Program("stamp"), bareloop: st.Program("bareloop"), n: n}
	if s.Supervisors, err = st.Supervise(); err != nil {
		return err
	}
	for _, part := range []func() error{
		func() error { return s.weigh(ctx, settle) },
		func() error { return s.killAll(ctx, rounds) },
		func() error { return s.takeOver(ctx, rounds) },
		func() error { return s.Down(ctx) },
	} {
		if err := part(); err != nil {
			return err
		}
	}
	if len(s.missed) > 0 {
		return fmt.Errorf("missed: %s", s.missed)
	}
	return nil
}

// definitions are n programs that print their birth into a pipe.
func (s *scene) definitions(n int, pipe string) []control.Definition {
	var all []control.Definition
	for i := range n {
		def := s.Define(fmt.Sprintf("p%04d", i), s.stamp, pipe)
		def.Backoff = 0
		def.Inherit = nil // one for all, with the request
		all = append(all, def)
	}
	return all
}

// weigh compares the supervisors of few programs with those of many.
func (s *scene) weigh(ctx context.Context, settle time.Duration) error {
	small, err := s.loaded(ctx, few, settle)
	if err != nil {
		return err
	}
	large, err := s.loaded(ctx, s.n, settle)
	if err != nil {
		return err
	}
	fmt.Printf("%d programs under one pair, compared with %d\n", s.n, few)
	for _, role := range []string{control.RoleActive, control.RoleStandby} {
		each := (large[role].RSS - small[role].RSS) / int64(max(s.n-few, 1))
		fmt.Printf("  %-8s %6.1f MB RSS -> %6.1f MB: %5.2f kB a program   %d -> %d threads\n", role,
			stage.MB(small[role].RSS), stage.MB(large[role].RSS), float64(each)/1000, small[role].Threads, large[role].Threads)
		s.check(each <= maxMemory, fmt.Sprintf("memory of the %s one", role))
		s.check(large[role].Threads <= maxThreads, fmt.Sprintf("threads of the %s one", role))
	}
	fmt.Printf("  goal: <= %.0f kB a program, <= %d threads\n", maxMemory/1000.0, maxThreads)
	return nil
}

// loaded brings n programs up and reads what each supervisor uses.
func (s *scene) loaded(ctx context.Context, n int, settle time.Duration) (map[string]stage.Usage, error) {
	pipe, err := stage.NewStamps(s.Stage, fmt.Sprintf("births%d", n))
	if err != nil {
		return nil, err
	}
	defer pipe.Close()
	_, err = s.Client.Up(ctx, control.UpParams{Programs: s.definitions(n, pipe.Path), Inherit: s.Environ(), Prune: true})
	if err != nil {
		return nil, err
	}
	if _, err := pipe.Await(ctx, n); err != nil {
		return nil, err
	}
	pids, _, err := s.AwaitGuarded(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	used := map[string]stage.Usage{}
	for role, pid := range pids {
		if used[role], err = stage.UsageOf(pid); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// killAll kills all programs at once, those of bareloop and ours in turn.
func (s *scene) killAll(ctx context.Context, rounds int) error {
	bare, err := s.enterBareloop(ctx)
	if err != nil {
		return err
	}
	ours, err := s.enterOurs(ctx)
	if err != nil {
		return err
	}
	for i := range rounds {
		for _, c := range []*crowd{bare, ours} {
			if err := c.kill(ctx); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "%d of %d rounds\n", i+1, rounds)
	}
	if err := bare.leave(ctx); err != nil {
		return err
	}
	fmt.Printf("all %d killed at once, %d times each, in turn: until the last one is back\n", s.n, rounds)
	for _, c := range []*crowd{bare, ours} {
		fmt.Printf("  %-10s p50 %8.1f ms   max %8.1f ms\n", c.name, stage.MS(stage.Quantile(c.times, 0.5)), stage.MS(stage.Quantile(c.times, 1)))
	}
	ratio := float64(stage.Quantile(ours.times, 0.5)) / float64(stage.Quantile(bare.times, 0.5))
	fmt.Printf("  %-10s p50 %8.2f      goal: <= %.1f\n", "ratio", ratio, maxRatio)
	s.check(ratio <= maxRatio, "time until all are back")
	_, _, err = s.AwaitGuarded(ctx)
	return err
}

// takeOver kills the active supervisor.
func (s *scene) takeOver(ctx context.Context, rounds int) error {
	_, first, err := s.AwaitGuarded(ctx)
	if err != nil {
		return err
	}
	var serves, guarded []time.Duration
	for range rounds {
		t, err := s.TakeOver(ctx, first)
		if err != nil {
			return err
		}
		serves, guarded = append(serves, t.Serves), append(guarded, t.Guarded)
	}
	fmt.Printf("kill -9 of the active supervisor with %d programs, %d times: none of them was disturbed\n", s.n, rounds)
	fmt.Printf("  the other one serves             p50 %8.1f ms   max %8.1f ms\n", stage.MS(stage.Quantile(serves, 0.5)), stage.MS(stage.Quantile(serves, 1)))
	fmt.Printf("  both are there, all in custody   p50 %8.1f ms   max %8.1f ms\n", stage.MS(stage.Quantile(guarded, 0.5)), stage.MS(stage.Quantile(guarded, 1)))
	return nil
}

func (s *scene) check(ok bool, what string) {
	if !ok {
		s.missed = append(s.missed, what)
	}
}
