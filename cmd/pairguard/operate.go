package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
)

func newStop() *cobra.Command {
	var dir string
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "stop [NAME...]",
		Short: "End pairs, and keep them ended",
		Long: "End the pairs of the NAMEs (without NAME: every pair in the folder). Stopping one\n" +
			"member stops its pair. A member that has not ended after the grace time is killed.\n" +
			"A stopped pair stays stopped until a person starts one of its members.",
		Example: "  pairguard stop procA\n  pairguard stop --grace 1s",
		RunE: func(cmd *cobra.Command, names []string) error {
			if grace < 0 {
				return usage(cmd, "--grace %v: a duration cannot be negative", grace)
			}
			f, err := pairguard.OpenFolder(dir)
			if err != nil {
				return err
			}
			report, err := f.Stop(cmd.Context(), grace, names...)
			if err == nil || len(report.Members) > 0 {
				printStop(cmd.OutOrStdout(), f, report)
			}
			return cmp.Or(err, stillAlive(report))
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().DurationVar(&grace, "grace", pairguard.DefaultGrace, "how long members have to end by themselves before they are killed")
	cmd.ValidArgsFunction = completeNames(&dir)
	return cmd
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
		Short: "Do not judge or revive members for a while",
		Long: "Until the time is over, or 'pairguard unhold', the NAMEs (without NAME: every member\n" +
			"in the folder) are neither judged hung nor started again when they end.",
		Example: "  pairguard hold procB --for 30m --reason 'debugging'",
		RunE: func(cmd *cobra.Command, names []string) error {
			if d <= 0 {
				return usage(cmd, "--for %v: it must be longer than zero", d)
			}
			return onFolder(cmd, dir, names, func(ctx context.Context, f *pairguard.Folder) error {
				if err := f.Hold(ctx, d, reason, names...); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: held for %v\n", whom(names), d)
				return err
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
		Long:  "End the hold of the NAMEs (without NAME: of every member in the folder).",
		RunE: func(cmd *cobra.Command, names []string) error {
			return onFolder(cmd, dir, names, func(ctx context.Context, f *pairguard.Folder) error {
				if err := f.Unhold(ctx, names...); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: no longer held\n", whom(names))
				return err
			})
		},
	}
	dirFlag(cmd, &dir)
	cmd.ValidArgsFunction = completeNames(&dir)
	return cmd
}

// onFolder opens the folder and, when nobody is named, makes sure that there is
// somebody to act on.
func onFolder(cmd *cobra.Command, dir string, names []string, act func(context.Context, *pairguard.Folder) error) error {
	f, err := pairguard.OpenFolder(dir)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		members, err := f.Members(cmd.Context())
		if err != nil {
			return err
		}
		if len(members) == 0 {
			return fmt.Errorf("%s: no member is there to %s: start a pair with 'pairguard guard SELF PEER'", f.Path(), cmd.Name())
		}
	}
	return act(cmd.Context(), f)
}

func whom(names []string) string {
	if len(names) == 0 {
		return "every member"
	}
	return strings.Join(names, ", ")
}
