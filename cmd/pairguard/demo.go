package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/proc"
)

// The members of the demo's pair.
const (
	demoA = "demoA"
	demoB = "demoB"
)

// demoStep is the deadline of each thing that the demo waits for: far above what
// a loaded machine needs, because it only decides when to call it a failure.
const demoStep = 20 * time.Second

func newDemo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "A pair in front of your eyes: one dies, one hangs, both come back",
		Long: "Start a pair in a scratch folder, kill one member and hang the other, show how each\n" +
			"comes back and after how long, and end the pair. It takes about 10 seconds, touches\n" +
			"nothing else and exits with 0 only if all of that really happened.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer cancel()
			err := runDemo(ctx, cmd.OutOrStdout())
			if err != nil && ctx.Err() != nil {
				err = errors.New("interrupted")
			}
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
}

// runDemo plays all acts and clears up after them, whatever happened.
func runDemo(ctx context.Context, w io.Writer) (err error) {
	if freezeSignal == nil {
		return fmt.Errorf("there is no signal that hangs a process on this system: %w", errors.ErrUnsupported)
	}
	s, err := newStage(w)
	if err != nil {
		return err
	}
	defer func() {
		if clearErr := s.clear(); clearErr != nil {
			err = errors.Join(err, clearErr)
		}
		if err == nil {
			s.say("Nothing is left: both processes are gone, their names are free, the folder is removed.")
		}
	}()
	s.say("Two processes that keep each other alive, in about 10 seconds. Ctrl-C ends everything.")
	for _, act := range []func(context.Context) error{s.start, pause, s.crash, pause, s.hang, pause, s.stop} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stage is where the demo plays. What happens on it is read from the event logs
// and from process handles, not from what the demo meant to do.
type stage struct {
	w      io.Writer
	began  time.Time
	dir    string
	folder *pairguard.Folder
	// cast is who plays each member now; former holds everybody that ever did.
	cast   map[string]*proc.Handle
	former []*proc.Handle
}

func newStage(w io.Writer) (*stage, error) {
	dir, err := os.MkdirTemp("", "pairguard-demo-")
	if err != nil {
		return nil, err
	}
	s := &stage{w: w, began: time.Now(), dir: dir, cast: map[string]*proc.Handle{}}
	if s.folder, err = pairguard.OpenFolder(dir); err != nil {
		os.Remove(dir)
		return nil, err
	}
	return s, nil
}

// say prints one line of the play with the time since its beginning, or an empty
// one between two acts.
func (s *stage) say(format string, args ...any) {
	if format == "" {
		fmt.Fprintln(s.w)
		return
	}
	fmt.Fprintf(s.w, "%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// start starts the first member, which starts the second.
func (s *stage) start(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	s.say("Starting %s with: pairguard guard %s %s", demoA, demoA, demoB)
	out, err := os.Create(filepath.Join(s.dir, "demo.log"))
	if err != nil {
		return err
	}
	defer out.Close()
	h, err := proc.Start(proc.Spec{
		Path: exe, Args: []string{"guard", demoA, demoB, "--dir", s.dir},
		Dir: s.dir, Env: os.Environ(), Output: out,
	})
	if err != nil {
		return err
	}
	s.enter(demoA, h)
	up, err := s.wait(ctx, "sees its peer", event(demoA, pairguard.PeerUp), h)
	if err != nil {
		return err
	}
	if err := s.follow(demoB, up.PeerPID); err != nil {
		return err
	}
	if _, err := s.wait(ctx, "sees its peer", event(demoB, pairguard.PeerUp), nil); err != nil {
		return err
	}
	s.say("It started %s, and now they guard each other:", demoB)
	return s.show(ctx)
}

// crash kills the second member.
func (s *stage) crash(ctx context.Context) error {
	old := s.cast[demoB]
	s.say("")
	s.say("A crash: kill -9 %s (pid %d) ...", demoB, old.PID())
	killed := time.Now()
	if err := old.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	back, took, err := s.replaced(ctx, demoB, demoA, old, killed)
	if err != nil {
		return err
	}
	s.say("%s is back as pid %d, %s after it died (%s after the kill, seen from here).", demoB, back.PeerPID,
		milliseconds(back.After), milliseconds(took))
	return s.show(ctx)
}

// hang stops the first member: it lives and does nothing.
func (s *stage) hang(ctx context.Context) error {
	old := s.cast[demoA]
	s.say("")
	s.say("A hang: kill -STOP %s (pid %d); it still exists, but does nothing ...", demoA, old.PID())
	frozen := time.Now()
	if err := old.Signal(freezeSignal); err != nil {
		return err
	}
	for _, kind := range []pairguard.EventKind{pairguard.PeerSuspect, pairguard.PeerHung, pairguard.PeerFenced, pairguard.PeerStarted} {
		if _, err := s.wait(ctx, string(kind), eventSince(demoB, kind, frozen), s.cast[demoB]); err != nil {
			return err
		}
		s.say("   %-12s  %s", kind, hangWords[kind])
	}
	back, took, err := s.replaced(ctx, demoA, demoB, old, frozen)
	if err != nil {
		return err
	}
	s.say("%s is back as pid %d, %.1f s after it began to hang.", demoA, back.PeerPID, took.Seconds())
	return s.show(ctx)
}

// hangWords explain the events of a hang.
var hangWords = map[pairguard.EventKind]string{
	pairguard.PeerSuspect: demoB + " has not heard from " + demoA + " for too long",
	pairguard.PeerHung:    "it had the chance to speak and did not: it hangs",
	pairguard.PeerFenced:  "so it was killed, and its death is proved",
	pairguard.PeerStarted: "only then a new one was started",
}

// stop ends the pair as a person would.
func (s *stage) stop(ctx context.Context) error {
	s.say("")
	s.say("Ending the pair with: pairguard stop")
	ctx, cancel := context.WithTimeout(ctx, demoStep)
	defer cancel()
	report, err := s.folder.Stop(ctx, pairguard.DefaultGrace)
	if err != nil {
		return err
	}
	for _, m := range report.Members {
		if m.How != pairguard.HowEnded {
			return fmt.Errorf("%s (pid %d) %s instead of ending by itself", m.Name, m.PID, m.How)
		}
	}
	return nil
}
