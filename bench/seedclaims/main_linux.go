package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
)

const module = "github.com/pairguard/pairguard/"

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "seedclaims:", err)
		os.Exit(1)
	}
}

// claim is one sentence of the article. figure is what was measured; an error says
// why the claim does not hold.
type claim struct {
	words   string
	measure func(ctx context.Context, t *theatre) (figure string, err error)
}

var claims = []claim{
	{"two processes revive each other", revival},
	{"three parameters", parameters},
	{"back within 3 s", within},
	{"no port", noPort},
	{"no process list", noProcessList},
	{"light", light},
	{"one reusable class", reusable},
}

// theatre has what every measurement needs.
type theatre struct {
	bin   string // where the built commands are
	most  int    // holders of one name at the same time, over all stages
	looks int    // samples of the observers
	trace *trace // of one pair, for two of the claims
}

func run(ctx context.Context) (err error) {
	bin, err := os.MkdirTemp("", "pgbin")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	t := &theatre{bin: bin}
	progress("building")
	for name, pkg := range map[string]string{
		"pairguard": "cmd/pairguard", "procA": "examples/two-processes/procA", "procB": "examples/two-processes/procB",
	} {
		if err := stage.Build(ctx, filepath.Join(bin, name), module+pkg); err != nil {
			return err
		}
	}
	failed := 0
	for _, c := range claims {
		progress(c.words)
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		figure, err := c.measure(ctx, t)
		cancel()
		verdict := "PASS"
		if err != nil {
			verdict, figure = "FAIL", err.Error()
			failed++
		}
		fmt.Printf("%-33s %s  %s\n", c.words, verdict, figure)
	}
	fmt.Printf("\nholders of one name at the same time: at most %d, in %d samples of an observer that is not the code under test\n", t.most, t.looks)
	switch {
	case t.most != 1:
		return fmt.Errorf("%d holders of one name at the same time", t.most)
	case failed > 0:
		return fmt.Errorf("%d of %d claims do not hold", failed, len(claims))
	}
	return nil
}

func progress(what string) { fmt.Fprintln(os.Stderr, "...", what) }

// play puts a pair on a stage of its own, and clears up after it.
func (t *theatre) play(ctx context.Context, act func(context.Context, *stage.Pair) error, flags ...string) (err error) {
	s, err := stage.New(filepath.Join(t.bin, "pairguard"), "pairs")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(err != nil)) }()
	p, err := s.StartPair(ctx, "procA", "procB", flags...)
	defer t.applaud(p.Observer, &err)
	if err == nil {
		err = act(ctx, p)
	}
	if err == nil {
		err = p.StopPair(ctx)
	}
	return err
}

// applaud takes the observer's verdict.
func (t *theatre) applaud(o *stage.Observer, err *error) {
	r := o.Close()
	t.most = max(t.most, r.Most)
	t.looks += r.Samples
	if len(r.Broken) > 0 {
		*err = errors.Join(*err, errors.New(r.Broken[0]))
	}
}
