package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// drillOptions are the flags of drill.
type drillOptions struct {
	rounds int
	json   bool
	report string
}

// maxRounds is a limit on typing errors.
const maxRounds = 10000

func newDrill() *cobra.Command {
	var o drillOptions
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Measure revival on this machine and prove the promises",
		Long: "Start pairs of guards in a scratch folder, crash members (SIGKILL) and hang them\n" +
			"(SIGSTOP) for a number of rounds each; on Linux also kill the active one of two\n" +
			"supervisors, whose program prints all the time. Measure how soon the other one answers,\n" +
			"or the member is back, and watch that there are never two of a name, that nobody healthy\n" +
			"is killed, that no line of the program is lost and that no dead process is left unreaped.\n" +
			"It touches nothing else and exits with 1 if a promise was broken.",
		Example: "  pairguard drill\n  pairguard drill --rounds 50 --report drill.html",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer cancel()
			err := runDrill(ctx, cmd, o)
			var exit *exitError
			if err == nil || errors.As(err, &exit) {
				return err
			}
			return fmt.Errorf("drill: %w", err)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.rounds, "rounds", 20, "how often each fault is made")
	jsonFlag(cmd, &o.json, "print the result as one JSON object")
	cmd.AddCommand(newDrillLines())
	f.StringVar(&o.report, "report", "", "also write the result as one HTML page to this file")
	return cmd
}

// runDrill drills, prints what came of it, and fails if a promise was broken.
func runDrill(ctx context.Context, cmd *cobra.Command, o drillOptions) error {
	if o.rounds < 1 || o.rounds > maxRounds {
		return usage(cmd, "--rounds %d: it must be between 1 and %d", o.rounds, maxRounds)
	}
	page, err := newPage(o.report)
	if err != nil {
		return err
	}
	defer page.discard()
	began := time.Now()
	d, err := drill(ctx, o.rounds, newProgress(cmd.ErrOrStderr(), exercises()*o.rounds))
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted; nothing of it is left")
	}
	if err != nil {
		return err
	}
	d.began, d.took, d.command = began, time.Since(began), o.command()
	if err := d.print(cmd.OutOrStdout(), o.json); err != nil {
		return err
	}
	if err := page.write(d); err != nil {
		return err
	}
	if len(d.broken) > 0 {
		return errors.New("broken: " + strings.Join(d.broken, "; "))
	}
	return nil
}

// exercises is how many kinds of faults there are here.
func exercises() int {
	n := 1
	if freezeSignal != nil {
		n++
	}
	if canTakeOver {
		n++
	}
	return n
}

// command is what repeats this drill.
func (o drillOptions) command() string {
	words := []string{"pairguard", "drill", "--rounds", strconv.Itoa(o.rounds)}
	if o.json {
		words = append(words, "--json")
	}
	if o.report != "" {
		words = append(words, "--report", quoteWord(filepath.Base(o.report)))
	}
	return strings.Join(words, " ")
}

// quoteWord makes one word of a text in a POSIX shell.
func quoteWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/+:@", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// drill plays all rounds and clears up after them, whatever happened.
func drill(ctx context.Context, rounds int, bar *progress) (d *drilled, err error) {
	defer bar.clear()
	s, err := newRange()
	if err != nil {
		return nil, err
	}
	defer func() {
		if clearErr := s.clear(); clearErr != nil {
			err = errors.Join(err, clearErr)
		}
	}()
	d = &drilled{rounds: rounds}
	for _, exercise := range []func(context.Context, int, *progress) error{s.crashes, s.hangs, s.takeovers} {
		if err = exercise(ctx, rounds, bar); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && !errors.Is(err, errNotBack) {
		return nil, err
	}
	if err != nil {
		d.broken = append(d.broken, err.Error())
	}
	return d, s.review(ctx, d)
}

// progress draws a bar, on a terminal only.
type progress struct {
	w           io.Writer // nil: nobody looks
	done, total int
}

func newProgress(w io.Writer, total int) *progress {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		w = nil
	}
	return &progress{w: w, total: total}
}

const barWidth = 40

func (p *progress) show(what string) {
	if p.w == nil {
		return
	}
	filled := barWidth * p.done / p.total
	fmt.Fprintf(p.w, "\r\x1b[K%s%s %3d%%  %s", strings.Repeat("█", filled), strings.Repeat("░", barWidth-filled), 100*p.done/p.total, what)
}

func (p *progress) step(what string) {
	p.done++
	p.show(what)
}

func (p *progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
