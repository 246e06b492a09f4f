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

// Goals for the medians.
const (
	maxServes = 5 * time.Millisecond
	// Guarded again within maxStarts times the start of a Go program, and maxRest.
	maxStarts = 4
	maxRest   = 10 * time.Millisecond
)

func main() {
	rounds := flag.Int("rounds", 100, "kills of the active supervisor")
	programs := flag.Int("programs", 3, "programs under guard")
	flag.Parse()
	if err := run(*rounds, *programs); err != nil {
		fmt.Fprintln(os.Stderr, "takeover:", err)
		os.Exit(1)
	}
}

// figures are the times of each round.
type figures struct {
	serves, guarded, starts []time.Duration
}

func run(rounds, programs int) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s, err := stage.NewWith(ctx, "f", "stamp")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(true)) }()
	v, err := s.Supervise()
	if err != nil {
		return err
	}
	up := control.UpParams{}
	for i := range programs {
		up.Programs = append(up.Programs, s.Define(fmt.Sprintf("sleep%d", i+1), "/bin/sleep", "1000000"))
	}
	if _, err := v.Client.Up(ctx, up); err != nil {
		return err
	}
	f, err := measure(ctx, v, s.Program("stamp"), rounds)
	if err != nil {
		return err
	}
	if err := v.Down(ctx); err != nil {
		return err
	}
	return f.report(programs)
}

// measure kills the active one again and again, and starts a Go program in between.
func measure(ctx context.Context, v *stage.Supervisors, stamp string, rounds int) (f figures, err error) {
	stamps, err := stage.NewStamps(v.Stage, "stamps")
	if err != nil {
		return f, err
	}
	defer stamps.Close()
	_, first, err := v.AwaitGuarded(ctx)
	if err != nil {
		return f, err
	}
	for i := range rounds {
		// What the new supervisor did to begin has to come to rest.
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return f, ctx.Err()
		}
		started, err := timeStart(ctx, stamp, stamps)
		if err != nil {
			return f, err
		}
		t, err := v.TakeOver(ctx, first)
		if err != nil {
			return f, err
		}
		f.serves, f.guarded, f.starts = append(f.serves, t.Serves), append(f.guarded, t.Guarded), append(f.starts, started)
		if i%50 == 49 {
			fmt.Fprintf(os.Stderr, "%d of %d kills\n", i+1, rounds)
		}
	}
	return f, nil
}

func (f *figures) report(programs int) error {
	fmt.Printf("kill -9 of the active supervisor, %d times, with %d programs; none of them was disturbed\n", len(f.serves), programs)
	for _, row := range []struct {
		what  string
		times []time.Duration
	}{{"the other one serves", f.serves}, {"both are there, all is in custody", f.guarded}, {"the start of a Go program", f.starts}} {
		fmt.Printf("  %-34s p50 %6.2f ms   p99 %6.2f ms   max %6.2f ms\n", row.what,
			stage.MS(stage.Quantile(row.times, 0.5)), stage.MS(stage.Quantile(row.times, 0.99)), stage.MS(stage.Quantile(row.times, 1)))
	}
	serves, guarded := stage.Quantile(f.serves, 0.5), stage.Quantile(f.guarded, 0.5)
	limit := maxStarts*stage.Quantile(f.starts, 0.5) + maxRest
	fmt.Printf("  goals for p50: serves within %.0f ms; guarded within %d x that start + %.0f ms = %.2f ms\n",
		stage.MS(maxServes), maxStarts, stage.MS(maxRest), stage.MS(limit))
	if serves > maxServes || guarded > limit {
		return errors.New("a goal was missed")
	}
	return nil
}
