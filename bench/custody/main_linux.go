package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// plan says how often each thing is done.
type plan struct {
	active, standby, both, stops int
	rate                         int   // lines a second
	size                         int64 // of a log, bytes
	rotations                    int   // at least
}

func main() {
	if len(os.Args) > 1 {
		if role := roles[os.Args[1]]; role != nil {
			exit(role(os.Args[2:]))
		}
	}
	var p plan
	flag.IntVar(&p.active, "active", 200, "kills of the active supervisor")
	flag.IntVar(&p.standby, "standby", 200, "kills of the standby")
	flag.IntVar(&p.both, "both", 50, "kills of both, with an up afterwards")
	flag.IntVar(&p.stops, "stops", 20, "SIGSTOPs of each")
	flag.IntVar(&p.rate, "rate", 50_000, "lines a second")
	flag.Int64Var(&p.size, "size", 4_000_000, "bytes after which the log is rotated")
	flag.IntVar(&p.rotations, "rotations", 20, "rotations that there must be at least")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, p))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "custody:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// roles are what this binary is for itself.
var roles = map[string]func([]string) error{"lines": lines}

// lines prints numbered lines, RATE of them a second, each with one write, until it is
// asked to end.
func lines(args []string) error {
	rate, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	begun := time.Now()
	line := make([]byte, 0, 32)
	for n := 1; ; n++ {
		line = append(strconv.AppendInt(line[:0], int64(n), 10), '\n')
		if _, err := os.Stdout.Write(line); err != nil {
			return err
		}
		if n%64 != 0 {
			continue
		}
		ahead := time.Duration(n)*time.Second/time.Duration(rate) - time.Since(begun)
		select {
		case <-asked:
			return nil
		case <-time.After(max(ahead, 0)):
		}
	}
}

// run does what the plan says, and checks.
func run(ctx context.Context, p plan) (err error) {
	s, err := newScene(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(err != nil)) }()
	if err := s.begin(ctx); err != nil {
		return err
	}
	began := time.Now()
	deeds := slices.Concat(repeat(s.killActive, p.active), repeat(s.killStandby, p.standby), repeat(s.killBoth, p.both),
		repeat(s.stopActive, p.stops), repeat(s.stopStandby, p.stops))
	s.random.Shuffle(len(deeds), func(i, j int) { deeds[i], deeds[j] = deeds[j], deeds[i] })
	for i, do := range deeds {
		if err := do(ctx); err != nil {
			return fmt.Errorf("deed %d of %d (seed %d): %w", i+1, len(deeds), s.seed, err)
		}
		if (i+1)%50 == 0 {
			fmt.Printf("%d of %d deeds, %v\n", i+1, len(deeds), time.Since(began).Round(time.Second))
		}
	}
	return s.finish(ctx, time.Since(began))
}

func repeat(do func(context.Context) error, n int) []func(context.Context) error {
	return slices.Repeat([]func(context.Context) error{do}, n)
}
