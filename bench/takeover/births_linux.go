package main

import (
	"context"
	"os/exec"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
)

// start starts a Go program and ends it; it returns the time from exec to main.
func start(ctx context.Context, program string, births *stage.Births) (time.Duration, error) {
	cmd := exec.Command(program, births.Path)
	before, err := stage.Monotonic()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	born, err := births.Next(ctx)
	if err != nil {
		return 0, err
	}
	if err := cmd.Process.Kill(); err != nil {
		return 0, err
	}
	_ = cmd.Wait() // it was killed
	return born.At - before, nil
}
