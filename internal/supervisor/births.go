package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

const birthsPipe = "supervisor.births.fifo"

// bear makes a births pipe of our own. That of the one before us may still be held by
// a child of it that hangs before its exec: it is kept to wait for.
func (a *active) bear(settled bool) error {
	path := a.l.birthsPath()
	var err error
	if !settled {
		if a.l.unborn, err = output.OpenReader(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := output.MakePipe(path); err != nil {
		return err
	}
	if a.births, err = output.OpenWriter(path); err != nil || a.l.forker == nil {
		return err
	}
	if err := a.l.forker.Hold(a.births); err != nil { // then children are to have all that we have
		a.l.debug("starts without a thread of their own", "error", err)
		a.l.forker = nil
	}
	return nil
}

// awaitBirths waits until every child of a dead active one has come to its exec, or
// has died: each of them holds the births pipe open until then.
func (l *loop) awaitBirths() {
	l.later(func() {
		if l.settleBirths(l.ctx) == nil {
			l.post(func() { l.decide(custody.BirthsSettled{}) })
		}
	})
}

func (l *loop) birthsPath() string { return filepath.Join(l.dir.Path(), birthsPipe) }

// settleBirths returns nil when nobody is on the way between fork and exec. It is of
// no use any more when we have children ourselves: see unborn.
func (l *loop) settleBirths(ctx context.Context) error {
	read, err := output.OpenReader(l.birthsPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil // no active one has started anything yet, or somebody removed it
	}
	if err != nil {
		return fmt.Errorf("births: %w", err)
	}
	defer read.Close()
	return proc.AwaitBirths(ctx, read)
}
