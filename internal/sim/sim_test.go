package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the first seed; 0: a random one")
	runsFlag  = flag.Int("runs", 0, "how many seeds; 0: a short run")
	breakFlag = flag.String("break", "", "a broken variant by its name; list: show them all")
)

const (
	shortRuns  = 5000   // about a second
	brokenRuns = 200000 // until a broken variant shows, which some do rarely
)

// TestSim runs many worlds. A failing one prints the command that repeats it and
// its trace, shrunk to what matters.
func TestSim(t *testing.T) {
	if *breakFlag == "list" {
		for _, v := range Variants() {
			fmt.Printf("%-32s %s  %s\n", v.Name, v.Promise, v.What)
		}
		return
	}
	seed, runs := *seedFlag, *runsFlag
	if seed == 0 {
		seed = rand.Uint64N(1 << 40)
	}
	if runs == 0 {
		runs = shortRuns
		if *breakFlag != "" {
			runs = brokenRuns
		}
	}
	began := time.Now()
	failed, total, done, err := Many(seed, runs, DefaultFaults(), *breakFlag, progressOnTerminal(runs))
	if err != nil {
		t.Fatal(err)
	}
	if failed != nil {
		tellFailure(t, failed.Seed, *breakFlag)
		return
	}
	fmt.Printf("sim: seed %d, %d runs in %v, 0 broken promises (%d steps, %d deaths, %d starts, %d kills by a peer, %d leaves, %d stops)\n",
		seed, done, time.Since(began).Round(10*time.Millisecond), total.Steps, total.Deaths, total.Spawns, total.Kills, total.Leaves, total.Stops)
}

// TestEveryVariantIsSeen: each promise that a simulation can see is broken by at
// least one variant, and each variant is seen.
func TestEveryVariantIsSeen(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Variants() {
		t.Run(v.Name, func(t *testing.T) {
			if seed := firstBreaking(t, v); seed == 0 {
				t.Fatalf("%s (%s) does not break %s within %d runs", v.Name, v.What, v.Promise, brokenRuns)
			}
			seen[v.Promise] = true
		})
	}
	for _, promise := range []string{"P1", "P2", "P3", "P4", "P5", "P6", "P8", "P9"} {
		if !seen[promise] {
			t.Errorf("no variant breaks %s", promise)
		}
	}
}

// firstBreaking is the first seed at which the variant breaks its promise; 0: none.
func firstBreaking(t *testing.T, v Variant) uint64 {
	for seed := uint64(1); seed < brokenRuns; seed++ {
		r, err := Run(seed, DefaultFaults(), v.Name)
		if err != nil {
			t.Fatal(err)
		}
		if r.Failure != nil && r.Failure.Promise == v.Promise {
			return seed
		}
	}
	return 0
}

// TestSameSeedSameRun: a run is a function of its seed, and tracing it changes
// nothing.
func TestSameSeedSameRun(t *testing.T) {
	for seed := range uint64(50) {
		a, b := newWorld(seed, DefaultFaults(), sound, nil), newWorld(seed, DefaultFaults(), sound, nil)
		b.trace = &trace{}
		if x, y := a.live(), b.live(); x.Counts != y.Counts {
			t.Fatalf("seed %d: %+v, and with a trace %+v", seed, x.Counts, y.Counts)
		}
	}
}

func tellFailure(t *testing.T, seed uint64, variant string) {
	t.Helper()
	r, err := Shrink(seed, DefaultFaults(), variant)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range r.Trace {
		fmt.Println(line)
	}
	again := fmt.Sprintf("make sim SEED=%d RUNS=1", seed)
	if variant != "" {
		again += " BREAK=" + variant
	}
	t.Errorf("seed %d breaks %s at %v: %s\nto repeat it: %s", seed, r.Failure.Promise, r.Failure.At, r.Failure.What, again)
}

// progressOnTerminal is nil unless somebody watches.
func progressOnTerminal(runs int) func(int) {
	info, err := os.Stderr.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || runs <= shortRuns {
		return nil
	}
	return func(done int) { fmt.Fprintf(os.Stderr, "\rsim: %d of %d runs ", done, runs) }
}
