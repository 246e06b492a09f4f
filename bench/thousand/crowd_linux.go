package main

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
	"github.com/pairguard/pairguard/internal/control"
)

// crowd is many programs under one supervisor.
type crowd struct {
	name  string
	n     int
	pipe  *stage.Stamps
	pids  []int
	times []time.Duration // from the first kill until the last one was back
	leave func(context.Context) error
}

func (s *scene) enter(ctx context.Context, name string, start func(pipe string) error) (*crowd, error) {
	pipe, err := stage.NewStamps(s.Stage, name+".births")
	if err != nil {
		return nil, err
	}
	if err := start(pipe.Path); err != nil {
		return nil, err
	}
	c := &crowd{name: name, n: s.n, pipe: pipe}
	return c, c.await(ctx)
}

// await waits for a new life of each.
func (c *crowd) await(ctx context.Context) error {
	born, err := c.pipe.Await(ctx, c.n)
	c.pids = c.pids[:0]
	for _, b := range born {
		c.pids = append(c.pids, b.PID)
	}
	return err
}

// kill kills all at once and waits until all are back.
func (c *crowd) kill(ctx context.Context) error {
	select {
	case <-time.After(2 * time.Second): // what their start led to comes to rest
	case <-ctx.Done():
		return ctx.Err()
	}
	began := time.Now()
	for _, pid := range c.pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("%s: kill of %d: %w", c.name, pid, err)
		}
	}
	if err := c.await(ctx); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	c.times = append(c.times, time.Since(began))
	return nil
}

func (s *scene) enterBareloop(ctx context.Context) (*crowd, error) {
	var loop *stage.Actor
	c, err := s.enter(ctx, "bareloop", func(pipe string) (err error) {
		loop, err = s.Start(s.bareloop, "-n", strconv.Itoa(s.n), s.stamp, pipe)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.leave = func(ctx context.Context) error {
		if err := loop.Signal(syscall.SIGKILL); err != nil {
			return err
		}
		for _, pid := range c.pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return err
			}
		}
		return loop.Await(ctx)
	}
	return c, nil
}

func (s *scene) enterOurs(ctx context.Context) (*crowd, error) {
	return s.enter(ctx, "pairguard", func(pipe string) error {
		_, err := s.Client.Up(ctx, control.UpParams{Programs: s.definitions(s.n, pipe), Inherit: s.Environ(), Prune: true})
		return err
	})
}
