package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
)

// Goals for both processes together, at the default heartbeat.
const (
	maxPSS      = 8 << 20
	maxSwitches = 24.0
)

func main() {
	d := flag.Duration("for", 30*time.Second, "how long to watch")
	settle := flag.Duration("settle", 5*time.Second, "how long to wait before, until the start is over")
	flag.Parse()
	if err := run(*settle, *d); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func run(settle, d time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), settle+d+2*time.Minute)
	defer cancel()
	s, err := stage.NewWith(ctx, "pairs", "bareloop")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(true)) }()
	p, err := s.StartPair(ctx, "procA", "procB")
	if p != nil {
		defer p.Observer.Close()
	}
	if err != nil {
		return err
	}
	a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
	var bare []int
	for range 2 {
		loop, err := s.Start(s.Program("bareloop"), "/bin/sleep", "1000000")
		if err != nil {
			return err
		}
		bare = append(bare, loop.PID())
	}
	fmt.Fprintf(os.Stderr, "watching for %v\n", settle+d)
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	idle, err := stage.MeasureIdle(ctx, d, a, b)
	if err != nil {
		return err
	}
	if now := []int{p.Observer.Holder("procA"), p.Observer.Holder("procB")}; !slices.Equal(now, []int{a, b}) {
		return fmt.Errorf("it was not idle: the holders were %d and %d and are %v", a, b, now)
	}
	least, err := stage.MeasureIdle(ctx, time.Millisecond, bare...)
	if err != nil {
		return err
	}
	return report(idle, least)
}

func report(idle, least stage.Idle) error {
	fmt.Printf("an idle pair at the default heartbeat, watched for %.0f s\n", idle.For.Seconds())
	for i, u := range idle.Each {
		fmt.Printf("  %-10s %5.2f MB PSS   %5.1f switches/s   %d threads\n", []string{"procA", "procB"}[i],
			mb(u.PSS), float64(u.Switches)/idle.For.Seconds(), u.Threads)
	}
	fmt.Printf("  %-10s %5.2f MB PSS   %5.1f switches/s   %d threads   goal: <= %.0f MB, <= %.0f/s\n", "together",
		mb(idle.PSS), idle.Switches, idle.Threads, mb(maxPSS), maxSwitches)
	fmt.Printf("  two processes of bareloop: %.2f MB PSS; the pair needs %.1f times as much\n",
		mb(least.PSS), float64(idle.PSS)/float64(least.PSS))
	if idle.PSS > maxPSS || idle.Switches > maxSwitches {
		return errors.New("above the goal")
	}
	return nil
}

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }
