package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
)

// goal is the highest ratio of the medians, pairguard to bareloop.
const goal = 1.5

func main() {
	rounds := flag.Int("rounds", 200, "kills of each")
	flag.Parse()
	if err := run(*rounds); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// contender is one supervisor with the program that it starts again.
type contender struct {
	name  string
	pipe  *stage.Stamps
	pid   int // of the program
	times []time.Duration
}

func run(rounds int) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s, err := stage.NewWith(ctx, "pairs", "stamp", "bareloop")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(true)) }()
	stamp := s.Program("stamp")
	bare, err := enter(ctx, s, "bareloop", func(pipe string) error {
		_, err := s.Start(s.Program("bareloop"), stamp, pipe)
		return err
	})
	if err != nil {
		return err
	}
	ours, err := enter(ctx, s, "pairguard", func(pipe string) error {
		_, err := s.Guard("guard", "program", "--backoff", "0", "--", stamp, pipe)
		return err
	})
	if err != nil {
		return err
	}
	if err := interleave(ctx, rounds, bare, ours); err != nil {
		return err
	}
	return report(bare, ours)
}

// enter starts a contender and waits for the first life of its program.
func enter(ctx context.Context, s *stage.Stage, name string, start func(pipe string) error) (*contender, error) {
	pipe, err := stage.NewStamps(s, name+".pipe")
	if err != nil {
		return nil, err
	}
	if err := start(pipe.Path); err != nil {
		return nil, err
	}
	born, err := pipe.Next(ctx)
	return &contender{name: name, pipe: pipe, pid: born.PID}, err
}

// interleave kills the program of each in turn.
func interleave(ctx context.Context, rounds int, all ...*contender) error {
	for i := range rounds {
		for _, c := range all {
			// The new program has to come to rest: its own start costs time on this CPU.
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
			now, err := stage.Monotonic()
			if err != nil {
				return err
			}
			if err := syscall.Kill(c.pid, syscall.SIGKILL); err != nil {
				return fmt.Errorf("%s: kill of %d: %w", c.name, c.pid, err)
			}
			born, err := c.pipe.Next(ctx)
			if err != nil {
				return fmt.Errorf("%s: no new process: %w", c.name, err)
			}
			c.pid = born.PID
			c.times = append(c.times, born.At-now)
		}
		if i%50 == 49 {
			fmt.Fprintf(os.Stderr, "%d of %d kills\n", i+1, rounds)
		}
	}
	return nil
}

func report(bare, ours *contender) error {
	fmt.Printf("kill -9 to the first instruction of the successor, %d kills each, interleaved\n", len(bare.times))
	for _, c := range []*contender{bare, ours} {
		fmt.Printf("  %-10s p50 %6.2f ms   p99 %6.2f ms   max %6.2f ms\n", c.name,
			stage.MS(stage.Quantile(c.times, 0.5)), stage.MS(stage.Quantile(c.times, 0.99)), stage.MS(stage.Quantile(c.times, 1)))
	}
	ratio := float64(stage.Quantile(ours.times, 0.5)) / float64(stage.Quantile(bare.times, 0.5))
	ratio99 := float64(stage.Quantile(ours.times, 0.99)) / float64(stage.Quantile(bare.times, 0.99))
	fmt.Printf("  %-10s p50 %6.2f      p99 %6.2f      goal: p50 <= %.1f\n", "ratio", ratio, ratio99, goal)
	if ratio > goal {
		return fmt.Errorf("the ratio %.2f is above %.1f", ratio, goal)
	}
	return nil
}
