package supervisors

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the first seed; 0: a random one")
	runsFlag  = flag.Int("runs", 0, "how many seeds; 0: a short run")
	breakFlag = flag.String("break", "", "a broken variant by its name; list: show them all")
)

const (
	shortRuns  = 300
	brokenRuns = 20000 // until a broken variant shows, which some do rarely
)

// TestSim runs many worlds. A failing one prints the command that repeats it and its trace, shrunk to what matters.
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
	failed, n, done, err := Many(seed, runs, DefaultFaults(), *breakFlag)
	if err != nil {
		t.Fatal(err)
	}
	if failed != nil {
		tellFailure(t, failed.Seed, *breakFlag)
		return
	}
	fmt.Printf("sim of supervisors: seed %d, %d runs in %v, 0 broken promises (%d steps, %d supervisors killed, %d takeovers, %d starts from disk, %d programs forked, %d wishes, %d rotations, %d lines, %d fenced, %d times a double fault with a bad disk excused)\n",
		seed, done, time.Since(began).Round(10*time.Millisecond), n.Steps, n.Kills, n.Takeovers, n.FromDisk, n.Forks, n.Wishes, n.Rotations, n.Lines, n.Fences, n.Excused)
}

// TestEveryVariantIsSeen: the checkers are not blind; and where two things keep a promise, each of them is enough.
func TestEveryVariantIsSeen(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Variants() {
		t.Run(v.Name, func(t *testing.T) {
			runs := uint64(brokenRuns)
			if v.Promise == "" {
				runs = shortRuns
			}
			for n := range runs {
				seed := v.Seed + n
				r, err := Run(seed, DefaultFaults(), v.Name)
				switch {
				case err != nil:
					t.Fatal(err)
				case r.Failure == nil:
				case v.Promise == "":
					t.Fatalf("%s (%s) breaks %q at seed %d: %s", v.Name, v.What, r.Failure.Promise, seed, r.Failure.What)
				case r.Failure.Promise == v.Promise:
					seen[v.Promise] = true
					t.Logf("seen at seed %d", seed)
					return
				}
			}
			if v.Promise != "" {
				t.Fatalf("%s (%s) does not break %q within %d runs", v.Name, v.What, v.Promise, brokenRuns)
			}
		})
	}
	for _, promise := range []string{doubled, silenced, disturbed, output, stays, truth, single} {
		if !seen[promise] {
			t.Errorf("no variant breaks %q", promise)
		}
	}
}

// TestSameSeedSameRun: a run is a function of its seed, and tracing it changes nothing.
func TestSameSeedSameRun(t *testing.T) {
	for seed := range uint64(20) {
		a, b := newWorld(seed, DefaultFaults(), sound, nil), newWorld(seed, DefaultFaults(), sound, nil)
		b.trace = &[]string{}
		if x, y := a.rest(), b.rest(); x.Counts != y.Counts {
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
	t.Errorf("seed %d breaks %q at %v: %s\nto repeat it: %s", seed, r.Failure.Promise, r.Failure.At, r.Failure.What, again)
}
