package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
)

func newEvents() *cobra.Command {
	var dir string
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "events [NAME...]",
		Short: "Show what happened",
		Long: "Show the event log of every member of the folder, oldest first; with NAMEs, the events\n" +
			"that they saw or that are about them.",
		RunE: func(cmd *cobra.Command, names []string) error {
			f, err := pairguard.OpenFolder(dir)
			if err != nil {
				return err
			}
			p := newEventPrinter(cmd.OutOrStdout(), asJSON)
			p.layout, p.ownPID = "2006-01-02 15:04:05.000", 0
			if follow {
				return followEvents(f, p, names)
			}
			return printEvents(f, p, names, cmd.ErrOrStderr())
		},
	}
	dirFlag(cmd, &dir)
	jsonFlag(cmd, &asJSON, "print events as JSON, one a line")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens next, until Ctrl-C")
	cmd.ValidArgsFunction = completeNames(&dir)
	return cmd
}

func printEvents(f *pairguard.Folder, p *eventPrinter, names []string, stderr io.Writer) error {
	events, err := f.Events(names...)
	for _, e := range events {
		p.columns = max(p.columns, len(e.Self))
	}
	for _, e := range events {
		p.print(e)
	}
	if err != nil && len(events) > 0 {
		// A line that a full disk has torn must not make the log useless for ever.
		fmt.Fprintln(stderr, oneLine(err))
		return nil
	}
	return err
}

// followEvents shows what the log holds and then what is added, until a signal
// or until nobody reads any more.
func followEvents(f *pairguard.Folder, p *eventPrinter, names []string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	return f.Follow(ctx, func(e pairguard.Event) {
		if len(names) == 0 || slices.Contains(names, e.Self) || slices.Contains(names, e.Peer) {
			p.print(e)
		}
		if p.broken {
			cancel()
		}
	})
}
