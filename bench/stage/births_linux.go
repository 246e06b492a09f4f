package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Births is a named pipe into which processes of bench/stamp print who they are and
// when they were born. Owned by one goroutine.
type Births struct {
	Path  string
	pipe  *os.File
	lines *bufio.Scanner
}

// Birth is one process's word.
type Birth struct {
	PID int
	At  time.Duration // on CLOCK_MONOTONIC
}

// NewBirths makes the pipe in the stage's root.
func NewBirths(s *Stage, name string) (*Births, error) {
	b := &Births{Path: filepath.Join(s.Root, name)}
	if err := unix.Mkfifo(b.Path, 0o600); err != nil {
		return nil, err
	}
	var err error
	if b.pipe, err = os.OpenFile(b.Path, os.O_RDWR, 0); err != nil { // for writing too: it never ends
		return nil, err
	}
	b.lines = bufio.NewScanner(b.pipe)
	return b, nil
}

// Next waits for one birth.
func (b *Births) Next(ctx context.Context) (Birth, error) {
	all, err := b.Await(ctx, 1)
	if err != nil {
		return Birth{}, err
	}
	return all[0], nil
}

// Await waits for n births, each for [Patience].
func (b *Births) Await(ctx context.Context, n int) ([]Birth, error) {
	defer context.AfterFunc(ctx, func() { _ = b.pipe.SetReadDeadline(time.Now()) })()
	var all []Birth
	for len(all) < n {
		if err := b.pipe.SetReadDeadline(time.Now().Add(Patience)); err != nil {
			return all, err
		}
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		if !b.lines.Scan() {
			return all, errors.Join(fmt.Errorf("%d of %d processes have said that they were born", len(all), n), b.lines.Err(), ctx.Err())
		}
		var one Birth
		var at int64
		if _, err := fmt.Sscan(b.lines.Text(), &one.PID, &at); err != nil {
			return all, err
		}
		one.At = time.Duration(at)
		all = append(all, one)
	}
	return all, nil
}

// Close gives the pipe back.
func (b *Births) Close() error { return b.pipe.Close() }

// Monotonic is the time on CLOCK_MONOTONIC.
func Monotonic() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano()), err
}
