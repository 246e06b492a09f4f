package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

// front is what a person sees of a program that they ran: its output, and a Ctrl-C
// that stops it. Nothing depends on it: SIGTERM and SIGHUP end it, and the program
// goes on.
type front struct {
	client      *control.Client
	name, log   string
	from        output.Position // in the log, before the start
	out, stderr io.Writer
}

// stay shows the output until the program has ended and returns its exit code as an
// *exitError.
func (f *front) stay(ctx context.Context, started control.RunResult) error {
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	if started.PID == 0 {
		f.say("%s does not run yet: %s", f.name, started.Reason)
	}
	shown := make(chan error, 1)
	show, finish := context.WithCancel(ctx)
	defer finish()
	go func() { shown <- output.Follow(show, f.out, f.log, f.from) }()
	ended := make(chan outcome, 1)
	go func() {
		r, err := f.client.Wait(ctx, control.WaitParams{Name: f.name})
		ended <- outcome{r, err}
	}()
	for stops := 0; ; {
		select {
		case <-interrupts:
			stops++
			go f.stop(ctx, stops > 1)
		case err := <-shown:
			shown = nil
			f.say("the output of %s cannot be shown: %v", f.name, err)
		case e := <-ended:
			finish() // what is in the log by now is still shown
			if shown != nil {
				if err := <-shown; err != nil {
					f.say("the output of %s cannot be shown: %v", f.name, err)
				}
			}
			return f.over(e)
		}
	}
}

// outcome is how waiting for the program ended.
type outcome struct {
	result control.WaitResult
	err    error
}

func (f *front) stop(ctx context.Context, now bool) {
	_, err := f.client.Stop(ctx, control.StopParams{Names: []string{f.name}, Now: now})
	if err != nil && !control.IsCode(err, control.CodeUnknown) { // it is gone already
		f.say("%s cannot be stopped: %v", f.name, err)
	}
}

func (f *front) over(e outcome) error {
	switch {
	case control.IsCode(e.err, control.CodeUnknown):
		return fmt.Errorf("%s was ended and forgotten by somebody else", f.name)
	case e.err != nil:
		return fmt.Errorf("%s may go on, but it is not known: %w: see 'pairguard status %s'", f.name, e.err, f.name)
	case e.result.LastExit == nil:
		return fmt.Errorf("%s never ran: %s", f.name, e.result.Reason)
	}
	if code := codeOf(e.result.LastExit); code != exitDone {
		return &exitError{code: code}
	}
	return nil
}

func (f *front) say(format string, args ...any) {
	fmt.Fprintln(f.stderr, oneLine(fmt.Errorf(format, args...)))
}
