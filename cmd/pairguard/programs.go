package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/lifecycle"
)

func newStart() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "start [NAME...]",
		Short: "Start programs that do not run",
		Long: "Start the programs of the NAMEs (without NAME: all that are defined) as they were\n" +
			"defined by 'pairguard run' or 'pairguard up'. It also ends the wait of a program for\n" +
			"its next start.",
		RunE: func(cmd *cobra.Command, names []string) error {
			return onPrograms(cmd, dir, names, func(ctx context.Context, client *control.Client, which []control.Program) (control.Changes, error) {
				return client.Start(ctx, control.NamesParams{Names: chosen{programs: which}.names()})
			})
		},
	}
	dirFlag(cmd, &dir)
	cmd.ValidArgsFunction = completePrograms(&dir)
	return cmd
}

func newRestart() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "restart [NAME...]",
		Short: "End programs and start them again",
		Long: "End the programs of the NAMEs (without NAME: all that are defined and not stopped) as\n" +
			"'pairguard stop' does, and start them again.",
		RunE: func(cmd *cobra.Command, names []string) error {
			return onPrograms(cmd, dir, names, func(ctx context.Context, client *control.Client, which []control.Program) (control.Changes, error) {
				var p control.RestartParams
				for _, one := range which {
					if len(names) > 0 || lifecycle.State(one.State) != lifecycle.Stopped {
						// By its generation a repeated request is told from a second wish.
						p.Programs = append(p.Programs, control.Life{Name: one.Name, Generation: one.Generation})
					}
				}
				if len(p.Programs) == 0 {
					return control.Changes{}, errors.New("every program is stopped: name the one that is to be started")
				}
				return client.Restart(ctx, p)
			})
		},
	}
	dirFlag(cmd, &dir)
	cmd.ValidArgsFunction = completePrograms(&dir)
	return cmd
}

// onPrograms finds the programs, makes sure that there are supervisors, and acts.
func onPrograms(cmd *cobra.Command, dir string, names []string,
	act func(context.Context, *control.Client, []control.Program) (control.Changes, error),
) error {
	h, err := openHouse(dir)
	if err != nil {
		return err
	}
	c, err := h.choose(cmd.Context(), names)
	if err != nil {
		return err
	}
	if len(names) > 0 && len(c.members) > 0 {
		return fmt.Errorf("%s is a member of a pair and not a program: 'pairguard guard' starts it", c.members[0])
	}
	if len(c.programs) == 0 {
		return fmt.Errorf("%s: no program is defined there: 'pairguard run -- COMMAND' or 'pairguard up' does it", h.folder.Path())
	}
	client, err := h.starter()
	if err != nil {
		return err
	}
	changes, err := act(cmd.Context(), client, c.programs)
	if err != nil {
		return err
	}
	return reportChanges(cmd, changes)
}

// stopPrograms ends programs; those with more grace than that are killed when it is
// over; negative: each has its own.
func (h *house) stopPrograms(ctx context.Context, c chosen, grace time.Duration) (control.Changes, error) {
	if !c.listening && !anyLive(c.programs) {
		var changes control.Changes
		for _, p := range c.programs {
			changes.Programs = append(changes.Programs, control.Change{Name: p.Name, Did: control.DidNothing, Generation: p.Generation})
		}
		return changes, nil
	}
	client, err := h.starter() // supervisors that both died left programs behind
	if err != nil {
		return control.Changes{}, err
	}
	p := control.StopParams{Names: c.names(), Now: grace == 0}
	if grace > 0 {
		over := time.AfterFunc(grace, func() {
			// Its error would be that of the request that waits.
			_, _ = client.Stop(ctx, control.StopParams{Names: p.Names, Now: true})
		})
		defer over.Stop()
	}
	return client.Stop(ctx, p)
}

func anyLive(programs []control.Program) bool {
	for _, p := range programs {
		if live(p) {
			return true
		}
	}
	return false
}
