package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
)

func newStop() *cobra.Command {
	var dir string
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "stop [NAME...]",
		Short: "End programs and pairs, and keep them ended",
		Long: "End the programs and the pairs of the NAMEs (without NAME: everything in the folder).\n" +
			"Stopping one member stops its pair. Who has not ended after the grace time is killed,\n" +
			"a program with everything that it started. What was stopped stays so until a person\n" +
			"starts it.",
		Example: "  pairguard stop procA\n  pairguard stop --grace 1s",
		RunE: func(cmd *cobra.Command, names []string) error {
			if grace < 0 {
				return usage(cmd, "--grace %v: a duration cannot be negative", grace)
			}
			h, err := openHouse(dir)
			if err != nil {
				return err
			}
			own := time.Duration(-1) // a program has its own grace
			if cmd.Flags().Changed("grace") {
				own = grace
			}
			return stop(cmd, h, names, own, grace)
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().DurationVar(&grace, "grace", pairguard.DefaultGrace, "how long they have to end by themselves before they are killed (programs: default their own)")
	cmd.ValidArgsFunction = completeNames(&dir)
	return cmd
}

// stop ends programs first: supervisors end by themselves when they have none.
func stop(cmd *cobra.Command, h *house, names []string, ofPrograms, ofMembers time.Duration) error {
	ctx := cmd.Context()
	c, err := h.choose(ctx, names)
	if err != nil {
		return err
	}
	if len(c.programs) > 0 {
		changes, err := h.stopPrograms(ctx, c, ofPrograms)
		if err == nil {
			err = reportChanges(cmd, changes)
		}
		if err != nil {
			return err
		}
	}
	if len(names) > 0 && len(c.members) == 0 {
		return nil
	}
	// Without a name the pair of the supervisors is meant, too, if it is still there.
	members := c.members
	if len(names) == 0 {
		members = nil
	}
	report, err := h.folder.Stop(ctx, ofMembers, members...)
	report.Members = slices.DeleteFunc(report.Members, func(m pairguard.StoppedMember) bool { return isSupervisor(m.Name) && m.How == pairguard.HowAbsent })
	if len(report.Members) > 0 || err == nil && len(c.programs) == 0 {
		printStop(cmd.OutOrStdout(), h.folder, report)
	}
	return cmp.Or(err, stillAlive(report))
}

// stillAlive is the error of a stop that somebody's start has overtaken.
func stillAlive(report pairguard.StopReport) error {
	for _, m := range report.Members {
		if m.How == pairguard.HowAlive {
			return fmt.Errorf("%s was started again while the stop waited: end what starts it, and stop once more", m.Name)
		}
	}
	return nil
}

// printStop says what became of each member.
func printStop(w io.Writer, f *pairguard.Folder, report pairguard.StopReport) {
	if len(report.Members) == 0 {
		fmt.Fprintf(w, "no pair in %s\n", f.Path())
	}
	for _, m := range report.Members {
		switch {
		case m.PID == 0:
			fmt.Fprintf(w, "%s: %s\n", m.Name, m.How)
		default:
			fmt.Fprintf(w, "%s: pid %d %s\n", m.Name, m.PID, m.How)
		}
	}
}

func newHold() *cobra.Command {
	var dir, reason string
	var d time.Duration
	cmd := &cobra.Command{
		Use:   "hold [NAME...]",
		Short: "Do not judge, revive or restart for a while",
		Long: "Until the time is over, or 'pairguard unhold', the members of pairs and the programs\n" +
			"of the NAMEs (without NAME: all in the folder) are neither judged hung nor started\n" +
			"again when they end.",
		Example: "  pairguard hold procB --for 30m --reason 'debugging'",
		RunE: func(cmd *cobra.Command, names []string) error {
			if d <= 0 {
				return usage(cmd, "--for %v: it must be longer than zero", d)
			}
			return onEverything(cmd, dir, names, deed{
				members: func(ctx context.Context, f *pairguard.Folder, members []string) error {
					return f.Hold(ctx, d, reason, members...)
				},
				programs: func(ctx context.Context, c *control.Client, programs []string) (control.Changes, error) {
					return c.Hold(ctx, control.HoldParams{Names: programs, For: control.Duration(d), Reason: reason})
				},
				said: fmt.Sprintf("held for %v", d),
			})
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().DurationVar(&d, "for", time.Hour, "when the hold ends by itself")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the event log")
	cmd.ValidArgsFunction = completeNames(&dir)
	return cmd
}

func newUnhold() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "unhold [NAME...]",
		Short: "End a hold",
		Long:  "End the hold of the NAMEs (without NAME: of every member and program in the folder).",
		RunE: func(cmd *cobra.Command, names []string) error {
			return onEverything(cmd, dir, names, deed{
				members: func(ctx context.Context, f *pairguard.Folder, members []string) error {
					return f.Unhold(ctx, members...)
				},
				programs: func(ctx context.Context, c *control.Client, programs []string) (control.Changes, error) {
					return c.Unhold(ctx, control.NamesParams{Names: programs})
				},
				said: "no longer held",
			})
		},
	}
	dirFlag(cmd, &dir)
	cmd.ValidArgsFunction = completeNames(&dir)
	return cmd
}

// deed is what is done to members and to programs.
type deed struct {
	members  func(context.Context, *pairguard.Folder, []string) error
	programs func(context.Context, *control.Client, []string) (control.Changes, error)
	said     string // what is printed then
}

// onEverything does a deed to the named ones, or to all, and makes sure that there is
// somebody to do it to.
func onEverything(cmd *cobra.Command, dir string, names []string, d deed) error {
	h, err := openHouse(dir)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	c, err := h.choose(ctx, names)
	if err != nil {
		return err
	}
	if len(c.members)+len(c.programs) == 0 {
		return fmt.Errorf("%s: no member is there to %s, and no program: 'pairguard guard SELF PEER' starts a pair, 'pairguard run -- COMMAND' a program",
			h.folder.Path(), cmd.Name())
	}
	if len(c.programs) > 0 {
		client, err := h.starter()
		if err != nil {
			return err
		}
		changes, err := d.programs(ctx, client, c.names())
		if err == nil {
			err = reportChanges(cmd, changes)
		}
		if err != nil {
			return err
		}
	}
	if len(c.members) == 0 {
		return nil
	}
	if err := d.members(ctx, h.folder, c.members); err != nil {
		return err
	}
	whom := "every member"
	if len(names) > 0 {
		whom = strings.Join(c.members, ", ")
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", whom, d.said)
	return err
}
