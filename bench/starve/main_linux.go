package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
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
	if err := run(ctx, exe, time.Duration(*minutes*float64(time.Minute)), *only, printf); err != nil {
		fmt.Fprintln(os.Stderr, "starve:", err)
		os.Exit(1)
	}
}

func printf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// shortForm: when less than this is watched, everything is made short.
const shortForm = 3 * time.Minute

// run plays all scenes, or the one that is named, and says what broke.
func run(ctx context.Context, exe string, watch time.Duration, only string, say func(string, ...any)) error {
	var broken error
	say("%-7s %-58s %8s %6s %6s %9s", "scene", "what", "watched", "kills", "late", "silence")
	for _, s := range scenes() {
		if only != "" && s.name != only {
			continue
		}
		p := &play{scene: s, exe: exe, say: say, watch: time.Duration(float64(watch) * s.share)}
		if watch < shortForm && s.within == 0 {
			p.releases = true // waiting for a starved process to hang, and to die, takes minutes
		}
		err := p.run(ctx)
		var skip *cannot
		if errors.As(err, &skip) {
			say("%-7s left out: %v", s.name, skip)
			continue
		}
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return broken
}

// cannot says that something cannot be had on this machine.
type cannot struct{ err error }

func (c *cannot) Error() string { return c.err.Error() }
