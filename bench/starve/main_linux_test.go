package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
)

// TestStarve is "make starve" in its short form: a minute of watching.
func TestStarve(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the processor for minutes")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	exe := filepath.Join(t.TempDir(), "starve")
	if err := stage.Build(ctx, exe, "github.com/pairguard/pairguard/bench/starve"); err != nil {
		t.Fatal(err)
	}
	if err := (director{exe: exe, watch: time.Minute, tests: true, say: t.Logf}).run(ctx); err != nil {
		t.Error(err)
	}
}
