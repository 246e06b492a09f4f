package main

import (
	"context"
	"os/exec"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
)

// timeStart starts a Go program and ends it; it returns the time from just before the
// fork to the first instruction of the program's own.
func timeStart(ctx context.Context, program string, stamps *stage.Stamps) (time.Duration, error) {
	cmd := exec.Command(program, stamps.Path)
	before, err := stage.Monotonic()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	born, err := stamps.Next(ctx)
	if err != nil {
		return 0, err
	}
	if err := cmd.Process.Kill(); err != nil {
		return 0, err
	}
	_ = cmd.Wait() // it was killed
	return born.At - before, nil
}
