package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor"
)

// newSupervise is what run, up and a supervisor itself start; people do not.
func newSupervise() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:    "supervise SELF PEER",
		Short:  "Be one of the two supervisors of a folder",
		Long:   "Be one of the two supervisors, which guard the programs of a folder and each other.\n'pairguard run', 'up' and 'start' start them; there is no need to do it by hand.",
		Hidden: true,
		Args: func(cmd *cobra.Command, args []string) error {
			pair := [2]string{control.First, control.Second}
			if len(args) != 2 || [2]string(args) != pair && [2]string{args[1], args[0]} != pair {
				return usage(cmd, "the names of supervisors are %s and %s", pair[0], pair[1])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return supervise(dir, args[0], args[1]) },
	}
	dirFlag(cmd, &dir)
	return cmd
}

func supervise(dir, self, peer string) error {
	beLight()
	f, err := pairguard.OpenFolder(dir)
	if err != nil {
		return err
	}
	command, err := superviseCommand(f.Path(), peer, self)
	if err != nil {
		return err
	}
	// Caught and dropped instead of ignored: an ignored signal stays ignored in programs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	err = supervisor.Run(ctx, supervisor.Config{Dir: f.Path(), Self: self, Peer: peer, Command: command, Rest: debug.FreeOSMemory, Hurry: hurry})
	if errors.Is(err, pairguard.ErrNameTaken) {
		return &exitError{code: exitNameTaken, err: err}
	}
	return err
}

// superviseCommand starts a supervisor of the folder.
func superviseCommand(folder, self, peer string) ([]string, error) {
	exe, err := ownExecutable()
	if err != nil {
		return nil, err
	}
	return []string{exe, "supervise", self, peer, "--dir=" + folder}, nil
}

// ownExecutable is the path by which we were called, when that leads to us: a link
// that an update turns to the next version counts from the next start.
func ownExecutable() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("the path of this program is not known: %w", err)
	}
	if called, _, err := proc.Resolve(os.Args[0]); err == nil && sameFile(called, exe) {
		exe = called
	}
	return filepath.Clean(exe), nil
}
