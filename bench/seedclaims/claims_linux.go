package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

const (
	killsAtOnce   = 100 // of either in turn, revived at once every time
	killsDefaults = 10  // of either in turn, with the default backoff
	hangs         = 4   // of either in turn, with the defaults
	idleFor       = 20 * time.Second
	maxPSS        = 8 << 20
	maxSwitches   = 24.0
)

// revival: kill -9 of either in turn; always exactly two afterwards.
func revival(ctx context.Context, t *theatre) (string, error) {
	atOnce, err := t.kills(ctx, killsAtOnce, "--backoff", "0")
	if err != nil {
		return "", err
	}
	defaults, err := t.kills(ctx, killsDefaults)
	if err != nil {
		return "", err
	}
	figure := fmt.Sprintf("%d + %d kills, always exactly two again; away at most %s, and %s with the defaults", len(atOnce), len(defaults),
		inMS(stage.Quantile(atOnce, 1)), inMS(stage.Quantile(defaults, 1)))
	if longest := max(stage.Quantile(atOnce, 1), stage.Quantile(defaults, 1)); longest > stage.AwayLimit {
		return "", fmt.Errorf("a peer was away for %v", longest)
	}
	return figure, nil
}

func (t *theatre) kills(ctx context.Context, n int, flags ...string) (away []time.Duration, err error) {
	err = t.play(ctx, func(ctx context.Context, p *stage.Pair) error {
		var err error
		if away, err = p.KillInTurn(ctx, n, syscall.SIGKILL); err != nil {
			return err
		}
		return p.AwaitUp(ctx)
	}, flags...)
	return away, err
}

// parameters: the article's three, self, peer and the peer's executable, are all
// that the library's one-line form and the command take.
func parameters(context.Context, *theatre) (string, error) {
	guard := reflect.TypeOf(pairguard.Guard)
	if guard.NumIn() != 4 || guard.In(1).Kind() != reflect.String || guard.In(2).Kind() != reflect.String || guard.In(3).Kind() != reflect.String {
		return "", fmt.Errorf("pairguard.Guard is %v", guard)
	}
	return `pairguard.Guard(ctx, self, peer, peerExecutable); pairguard guard SELF PEER -- COMMAND`, nil
}

// within: a crash, the same peer again and again so that the backoff counts, and a
// hang, with the defaults.
func within(ctx context.Context, t *theatre) (string, error) {
	var crashed, hung []time.Duration
	err := t.play(ctx, func(ctx context.Context, p *stage.Pair) (err error) {
		for range 4 {
			away, err := p.Replace(ctx, p.B, syscall.SIGKILL)
			if err == nil {
				err = p.AwaitTwo(ctx)
			}
			if err != nil {
				return err
			}
			crashed = append(crashed, away)
		}
		return p.AwaitUp(ctx)
	})
	if err != nil {
		return "", err
	}
	err = t.play(ctx, func(ctx context.Context, p *stage.Pair) (err error) {
		if hung, err = p.KillInTurn(ctx, hangs, syscall.SIGSTOP); err != nil {
			return err
		}
		return p.AwaitUp(ctx)
	})
	if err != nil {
		return "", err
	}
	if longest := max(stage.Quantile(crashed, 1), stage.Quantile(hung, 1)); longest > stage.AwayLimit {
		return "", fmt.Errorf("away for %v", longest)
	}
	return fmt.Sprintf("crash: at most %s (%d in a row); hang: at most %s (%d)", inMS(stage.Quantile(crashed, 1)), len(crashed),
		inMS(stage.Quantile(hung, 1)), len(hung)), nil
}

// light: memory and wake-ups of both together while nothing happens.
func light(ctx context.Context, t *theatre) (string, error) {
	var idle stage.Idle
	err := t.play(ctx, func(ctx context.Context, p *stage.Pair) (err error) {
		select { // the start is not idleness
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		idle, err = stage.MeasureIdle(ctx, idleFor, p.Observer.Holder(p.A), p.Observer.Holder(p.B))
		return err
	})
	if err != nil {
		return "", err
	}
	figure := fmt.Sprintf("%.1f MB PSS and %.1f voluntary context switches a second, both together, over %.0f s",
		float64(idle.PSS)/(1<<20), idle.Switches, idle.For.Seconds())
	if idle.PSS > maxPSS || idle.Switches > maxSwitches {
		return "", fmt.Errorf("%s; the limits are %d MB and %.0f", figure, maxPSS>>20, maxSwitches)
	}
	return figure, nil
}

// reusable: the library in two programs of one line each forms a pair too, as the
// command does. A program and a command of the same names even form a mixed pair.
func reusable(ctx context.Context, t *theatre) (figure string, err error) {
	s, err := stage.New(filepath.Join(t.bin, "pairguard"), "pairs")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close(err != nil)) }()
	for _, name := range []string{"procA", "procB"} {
		if err := copyProgram(filepath.Join(t.bin, name), filepath.Join(s.Root, name)); err != nil {
			return "", err
		}
	}
	p := s.NewPair("procA", "procB")
	defer t.applaud(p.Observer, &err)
	if _, err := s.StartExample("procA"); err != nil {
		return "", err
	}
	if err := p.AwaitUp(ctx); err != nil {
		return "", err
	}
	away, err := p.KillInTurn(ctx, 4, syscall.SIGKILL)
	if err != nil {
		return "", err
	}
	if err := p.AwaitUp(ctx); err != nil {
		return "", err
	}
	if err := p.StopPair(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("examples/two-processes (%s), each one line of the library: a pair, %d kills, away at most %s; the rows above: the command",
		runtime.Version(), len(away), inMS(slices.Max(away))), nil
}

func copyProgram(from, to string) error {
	program, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o755)
}

func inMS(d time.Duration) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(d.Microseconds())/1000), ".0") + " ms"
}
