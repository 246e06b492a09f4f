package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var deedsFlag = flag.Int("deeds", 1, "how many deeds the exhaustive search puts in")

// TestExhaustive visits every state within its scope.
func TestExhaustive(t *testing.T) {
	began := time.Now()
	found, err := Explore(Exploration{Deeds: *deedsFlag, Variant: *breakFlag})
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
