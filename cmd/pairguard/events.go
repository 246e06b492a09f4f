package main

import (
	"context"
	"errors"
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
		Long: "Show what happened to every member and program of the folder, oldest first; with NAMEs,\n" +
			"the events that these members saw, or that are about them or these programs.",
		RunE: func(cmd *cobra.Command, names []string) error {
			h, err := openHouse(dir)
			if err != nil {
				return err
			}
			if names, err = h.known(cmd.Context(), names); err != nil {
				return err
			}
			f := h.folder
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

// known returns the names as events have them, and an error for one of which nothing
// can have been written. One whose program was forgotten is known by its events.
func (h *house) known(ctx context.Context, names []string) ([]string, error) {
	var found []string
	for _, name := range names {
		c, err := h.choose(ctx, []string{name})
		if errors.Is(err, pairguard.ErrUnknownName) && h.wasProgram(name) {
			found = append(found, name)
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(append(found, c.members...), c.names()...)
	}
	return found, nil
}

func (h *house) wasProgram(name string) bool {
	events, _ := h.folder.Events() // what cannot be read is told of later
	return slices.ContainsFunc(events, func(e pairguard.Event) bool { return e.Program == name })
}

// isAbout reports whether one of the names saw it, or it is about one.
func isAbout(e pairguard.Event, names []string) bool {
	return slices.Contains(names, e.Program) || e.Program == "" && (slices.Contains(names, e.Self) || slices.Contains(names, e.Peer))
}

func printEvents(f *pairguard.Folder, p *eventPrinter, names []string, stderr io.Writer) error {
	events, err := f.Events()
	if len(names) > 0 {
		events = slices.DeleteFunc(events, func(e pairguard.Event) bool { return !isAbout(e, names) })
	}
	for _, e := range events {
		p.columns = max(p.columns, len(subject(e)))
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
		if len(names) == 0 || isAbout(e, names) {
			p.print(e)
		}
		if p.broken {
			cancel()
		}
	})
}
