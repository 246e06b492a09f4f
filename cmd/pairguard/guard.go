package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/proc"
)

// guardOptions are the flags of guard. A duration that was not given stays zero,
// which the library replaces with its default.
type guardOptions struct {
	dir  string
	json bool

	heartbeat, timeout, startTimeout, grace time.Duration
	unsureLimit, starveLimit                time.Duration
	backoff, backoffMax, stable             time.Duration
	dump                                    bool
}

func newGuard() *cobra.Command {
	var o guardOptions
	cmd := &cobra.Command{
		Use:   "guard SELF PEER [-- COMMAND [ARG...]]",
		Short: "Be SELF and guard PEER, started by COMMAND",
		Long: "Be the process named SELF and guard the one named PEER: when it dies or hangs it\n" +
			"is started again with COMMAND. Without COMMAND the peer is\n" +
			"'pairguard guard PEER SELF' with the same flags, which guards this one in return.\n\n" +
			"Ctrl-C ends the pair (twice: at once), SIGTERM this process alone, Ctrl-Z suspends\n" +
			"this process and tells the peer not to mind; losing the terminal changes nothing.",
		Example: "  pairguard guard procA procB\n  pairguard guard procA procB -- ./procB --port 8080",
		Args:    guardArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runGuard(cmd, &o, args[0], args[1], args[2:])
		},
	}
	f := cmd.Flags()
	dirFlag(cmd, &o.dir)
	jsonFlag(cmd, &o.json, "print events as JSON, one a line")
	f.DurationVar(&o.heartbeat, "heartbeat", 0, "how often a sign of life is sent (default 1s)")
	f.DurationVar(&o.timeout, "timeout", 0, "silence that makes the peer suspect (default 2s, or twice the heartbeat)")
	f.DurationVar(&o.unsureLimit, "unsure-limit", 0, "silence after which a peer is judged that cannot be looked at (default 30s)")
	f.DurationVar(&o.starveLimit, "starve-limit", 0, "silence after which a peer is judged that gets no processor time; 0: never (default 0)")
	f.BoolVar(&o.dump, "dump", false, "make a hung peer say what it was doing, and keep that as NAME.dump, before it is killed")
	f.DurationVar(&o.startTimeout, "start-timeout", 0, "how long a started peer may be silent before that is reported (default 10s)")
	f.DurationVar(&o.grace, "grace", 0, "how long the peer has to end after a stop before it is killed (default 5s)")
	f.DurationVar(&o.backoff, "backoff", 0, "delay before the second revival in a row, then doubled; 0: always at once (default 500ms)")
	f.DurationVar(&o.backoffMax, "backoff-max", 0, "the longest delay (default 2s)")
	f.DurationVar(&o.stable, "stable", 0, "a peer that lived this long has its past deaths forgiven (default 10s)")
	return cmd
}

func guardArgs(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	names := len(args)
	if dash >= 0 {
		names = dash
	}
	switch {
	case names < 2:
		return usage(cmd, "guard needs two names, SELF and PEER")
	case names > 2 && dash < 0:
		return usage(cmd, "%q is one argument too many; a COMMAND is written after --", args[2])
	case names > 2:
		return usage(cmd, "%q is one name too many before --", args[2])
	case args[0] == "" || args[1] == "":
		return usage(cmd, "a name cannot be empty")
	case dash >= 0 && len(args) == dash:
		return usage(cmd, "there is no COMMAND after --")
	}
	return nil
}

func runGuard(cmd *cobra.Command, o *guardOptions, self, peer string, command []string) error {
	beLight()
	cfg, err := o.config(cmd, self, peer, command)
	if err != nil {
		return err
	}
	out := newEventPrinter(cmd.OutOrStdout(), o.json, len(self), len(peer))
	cfg.OnEvent = out.print
	m, err := pairguard.New(cfg)
	if err != nil {
		return configError(cmd, cfg, err)
	}
	handleSignals(m, self, cfg.Dir, cmd.ErrOrStderr())
	return runError(m.Run(context.Background()))
}

// config makes the library's Config of the command line.
func (o *guardOptions) config(cmd *cobra.Command, self, peer string, command []string) (pairguard.Config, error) {
	if len(command) == 0 {
		// Before check, which changes what the flags hold.
		own, err := ownCommand(cmd.Flags(), peer, self)
		if err != nil {
			return pairguard.Config{}, err
		}
		command = own
	}
	if err := o.check(cmd); err != nil {
		return pairguard.Config{}, err
	}
	return pairguard.Config{
		Self: self, Peer: peer, Command: command, Dir: o.dir,
		Heartbeat: o.heartbeat, Timeout: o.timeout, StartTimeout: o.startTimeout, Grace: o.grace,
		UnsureLimit: o.unsureLimit, StarveLimit: o.starveLimit, Dump: o.dump,
		Backoff: o.backoff, BackoffMax: o.backoffMax, Stable: o.stable,
	}, nil
}

// check rejects what cannot be meant, and gives an explicit 0 the meaning that it
// has on a command line: to the library zero is "default".
func (o *guardOptions) check(cmd *cobra.Command) error {
	if o.dir != "" {
		// The peer is started with the same flags, perhaps in another working directory.
		abs, err := filepath.Abs(o.dir)
		if err != nil {
			return fmt.Errorf("--dir %s: %w", o.dir, err)
		}
		o.dir = abs
	}
	f := cmd.Flags()
	for _, d := range []struct {
		name      string
		value     *time.Duration
		zeroMeans time.Duration // 0: an explicit zero is an error
	}{
		{"heartbeat", &o.heartbeat, 0},
		{"timeout", &o.timeout, 0},
		{"unsure-limit", &o.unsureLimit, 0},
		{"starve-limit", &o.starveLimit, -1}, // the library's word for never
		{"start-timeout", &o.startTimeout, 0},
		{"grace", &o.grace, time.Nanosecond},
		{"backoff", &o.backoff, -1}, // the library's word for "always at once"
		{"backoff-max", &o.backoffMax, 0},
		{"stable", &o.stable, time.Nanosecond},
	} {
		switch {
		case *d.value < 0:
			return usage(cmd, "--%s %v: a duration cannot be negative", d.name, *d.value)
		case *d.value == 0 && f.Changed(d.name) && d.zeroMeans == 0:
			return usage(cmd, "--%s 0: it must be longer than zero", d.name)
		case *d.value == 0 && f.Changed(d.name):
			*d.value = d.zeroMeans
		}
	}
	return nil
}

// ownCommand starts a second pairguard that is the peer, with the same flags.
func ownCommand(flags *pflag.FlagSet, self, peer string) ([]string, error) {
	exe, err := ownExecutable()
	if err != nil {
		return nil, fmt.Errorf("%w: give a COMMAND after --", err)
	}
	command := []string{exe, "guard", self, peer}
	flags.Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		if f.Name == "dir" {
			if abs, err := filepath.Abs(value); err == nil {
				value = abs
			}
		}
		command = append(command, "--"+f.Name+"="+value)
	})
	return command, nil
}

// configError tells a wrong command line from a world that is not as it should be:
// no such executable, a folder that cannot be used.
func configError(cmd *cobra.Command, cfg pairguard.Config, err error) error {
	if _, _, bad := proc.Resolve(cfg.Command[0]); bad != nil {
		return err
	}
	if _, bad := pairguard.OpenFolder(cfg.Dir); bad != nil {
		return err
	}
	return usage(cmd, "%s", strings.TrimPrefix(err.Error(), "pairguard: "))
}

// runError chooses the exit code of a guard that ended.
func runError(err error) error {
	if errors.Is(err, pairguard.ErrNameTaken) {
		return &exitError{code: exitNameTaken, err: err}
	}
	return err
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}
