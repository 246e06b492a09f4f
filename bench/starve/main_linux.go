package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

var verbose = flag.Bool("v", false, "tell every event")

func main() {
	if len(os.Args) > 1 && os.Args[1] == "member" {
		os.Exit(member(os.Args[2:]))
	}
	minutes := flag.Float64("minutes", 12, "how long all scenes watch together")
	only := flag.String("only", "", "one scene alone, by its name")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "starve:", err)
		os.Exit(1)
	}
	if err := (director{watch: time.Duration(*minutes * float64(time.Minute)), only: *only, say: printf, exe: exe}).run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "starve:", err)
		os.Exit(1)
	}
}

func printf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// shortForm: when less than this is watched, everything is made short.
const shortForm = 3 * time.Minute

// director plays the scenes.
type director struct {
	exe   string // this command
	watch time.Duration
	only  string // one scene, by its name; empty: all
	tests bool   // other tests use the machine at the same time
	say   func(string, ...any)
}

// run plays all scenes, or the one that is named, and says what broke.
func (d director) run(ctx context.Context) error {
	d.say("%-7s %-58s %8s %6s %6s %9s", "scene", "what", "watched", "kills", "late", "silence")
	var broken []error
	all := acts()
	for _, act := range all {
		errs := make([]error, len(act))
		var scenes sync.WaitGroup
		for i, s := range act {
			scenes.Go(func() { errs[i] = d.play(ctx, s, d.watch/time.Duration(len(all))) })
		}
		scenes.Wait()
		broken = append(broken, errs...)
	}
	return errors.Join(broken...)
}

func (d director) play(ctx context.Context, s scene, watch time.Duration) error {
	if d.only != "" && s.name != d.only {
		return nil
	}
	p := &play{scene: s, exe: d.exe, say: d.say, watch: watch, tests: d.tests}
	if d.watch < shortForm && s.within == 0 {
		p.releases = true // waiting for a starved process to hang, and to die, takes minutes
	}
	err := p.run(ctx)
	var skip *cannot
	if errors.As(err, &skip) {
		d.say("%-7s left out: %v", s.name, skip)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// cannot says that something cannot be had on this machine.
type cannot struct{ err error }

func (c *cannot) Error() string { return c.err.Error() }
