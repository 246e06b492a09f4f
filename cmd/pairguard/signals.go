package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/proc"
)

// suspendHold is how long Ctrl-Z excuses a guard: after it a peer that was
// forgotten in the background is judged like any other.
const suspendHold = time.Hour

// handleSignals makes the signals mean what the manual page says, to the end of
// the process: one more Ctrl-C while it ends must not turn an orderly end into a
// death. dir is the folder of m, "" for the default one.
func handleSignals(m *pairguard.Member, self, dir string, stderr io.Writer) {
	// A shell without job control starts what ends in & with SIGINT ignored: Ctrl-C
	// is meant for others then.
	deaf := signal.Ignored(os.Interrupt)
	// SIGHUP and SIGPIPE (and such a SIGINT) are caught and dropped instead of ignored, because an
	// ignored signal stays ignored in every program that we start.
	ends := make(chan os.Signal, 8)
	signal.Notify(ends, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		for s := range ends {
			if s != os.Interrupt || !deaf {
				end(m, s)
			}
		}
	}()
	if len(suspendSignals) > 0 {
		h := &signalHandler{m: m, self: self, dir: dir, stderr: stderr}
		pauses := make(chan os.Signal, 8)
		signal.Notify(pauses, suspendSignals...)
		go func() {
			for s := range pauses {
				h.act(s)
			}
		}()
	}
	if err := proc.OnEndRequest(m.Leave); err != nil {
		fmt.Fprintln(stderr, oneLine(fmt.Errorf("%w: the end of the session will look like a death", err)))
	}
}

// end never waits: whatever hangs, the operator's word is passed on.
func end(m *pairguard.Member, s os.Signal) {
	switch s {
	case os.Interrupt:
		m.Stop("Ctrl-C") // a second one does not wait for the grace
	case syscall.SIGTERM:
		m.Leave(termReason)
	}
}

// signalHandler suspends and resumes. It is owned by one goroutine, which may wait
// for a disk or for a terminal that takes no more.
type signalHandler struct {
	m         *pairguard.Member
	self, dir string
	stderr    io.Writer
	holding   bool // we hold our own name, because Ctrl-Z suspended us
}

func (h *signalHandler) act(s os.Signal) {
	var err error
	switch {
	case isSuspend(s):
		if err = h.suspend(); err != nil {
			err = fmt.Errorf("Ctrl-Z: %w; not suspended, because %s would be taken for hung", err, h.self)
		}
	case isResume(s):
		if err = h.resume(); err != nil {
			err = fmt.Errorf("the hold of %s cannot be ended: %w; end it with 'pairguard unhold %s'", h.self, err, h.self)
		}
	}
	if err != nil {
		fmt.Fprintln(h.stderr, oneLine(err))
	}
}

// suspend stops this process as Ctrl-Z asks. A hold of its own name, stored
// before, tells the peer that this is no hang.
func (h *signalHandler) suspend() error {
	f, err := pairguard.OpenFolder(h.dir)
	if err != nil {
		return err
	}
	held, err := heldLonger(f, h.self, suspendHold)
	if err != nil {
		return err
	}
	if !held {
		if err := within(func(ctx context.Context) error { return h.m.HoldSelf(ctx, suspendHold, "Ctrl-Z") }); err != nil {
			return err
		}
		h.holding = true
	}
	fmt.Fprintf(h.stderr, "pairguard: %s is suspended and its peer waits for %v: 'fg' or 'kill -CONT %d' goes on\n", h.self, suspendHold, os.Getpid())
	// This may return before the process has stopped: what is to be done after it
	// waits for the signal that continues it.
	return stopSelf()
}

// resume ends the hold of suspend, and no other one.
func (h *signalHandler) resume() error {
	if !h.holding {
		return nil
	}
	if err := within(h.m.UnholdSelf); err != nil {
		return err
	}
	h.holding = false
	return nil
}

// heldLonger reports whether a person holds name for d or longer already; such a
// hold is neither shortened nor ended by Ctrl-Z.
func heldLonger(f *pairguard.Folder, name string, d time.Duration) (bool, error) {
	var held bool
	err := within(func(ctx context.Context) error {
		members, err := f.Members(ctx, name)
		for _, m := range members {
			held = held || m.Self == name && m.HoldLeft >= d
		}
		return err
	})
	return held, err
}

// within runs f with the time that a folder on a healthy disk needs at most.
func within(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return f(ctx)
}
