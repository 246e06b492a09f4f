package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	deedsFlag  = flag.Int("deeds", 1, "how many deeds the exhaustive search puts in")
	statesFlag = flag.Int("states", 0, "after how many states the search gives up; 0: never")
)

// variantToExplore: the list is asked of TestSim.
func variantToExplore() string {
	if *breakFlag == "list" {
		return ""
	}
	return *breakFlag
}

// TestExhaustive visits every state within its scope.
func TestExhaustive(t *testing.T) {
	began := time.Now()
	found, err := Explore(Exploration{Deeds: *deedsFlag, MaxStates: *statesFlag, Variant: variantToExplore()})
	if err != nil {
		t.Fatal(err)
	}
	if found.Failure != nil {
		for _, line := range found.Path {
			fmt.Println(line)
		}
		t.Fatalf("after %d states: %s is broken at %v: %s", found.States, found.Failure.Promise, found.Failure.At, found.Failure.What)
	}
	fmt.Printf("exhaustive: %d deeds, %d states visited in %v, complete: %v\n", *deedsFlag, found.States, time.Since(began).Round(time.Millisecond), found.Complete)
}
