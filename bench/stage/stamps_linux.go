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

// Stamps is a named pipe into which processes of bench/stamp print who they are and
// when they were born. Owned by one goroutine.
type Stamps struct {
	Path  string
	pipe  *os.File
	lines *bufio.Scanner
}

// Stamp is one process's word.
type Stamp struct {
	PID int
	At  time.Duration // on CLOCK_MONOTONIC
}

// NewStamps makes the pipe in the stage's root.
func NewStamps(s *Stage, name string) (*Stamps, error) {
	b := &Stamps{Path: filepath.Join(s.Root, name)}
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

// Next waits for one stamp.
func (b *Stamps) Next(ctx context.Context) (Stamp, error) {
	all, err := b.Await(ctx, 1)
	if err != nil {
		return Stamp{}, err
	}
	return all[0], nil
}

// Await waits for n stamps, each for [Patience].
func (b *Stamps) Await(ctx context.Context, n int) ([]Stamp, error) {
	defer context.AfterFunc(ctx, func() { _ = b.pipe.SetReadDeadline(time.Now()) })()
	var all []Stamp
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
		var one Stamp
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
func (b *Stamps) Close() error { return b.pipe.Close() }

// Monotonic is the time on CLOCK_MONOTONIC.
func Monotonic() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano()), err
}
