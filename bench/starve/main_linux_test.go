package main

import (
	"context"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "member" {
		os.Exit(member(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// TestStarve is "make starve" in its short form: a minute of watching.
func TestStarve(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the processor for minutes")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := run(ctx, time.Minute, "", t.Logf); err != nil {
		t.Error(err)
	}
}
