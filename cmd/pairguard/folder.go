package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// dirFlag adds --dir, which means the same everywhere.
func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "folder where the members meet (default: $PAIRGUARD_DIR, else one that depends on the user alone)")
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, on *bool, what string) {
	cmd.Flags().BoolVar(on, "json", false, what)
}

// completeNames completes the names of members and programs.
func completeNames(dir *string) cobra.CompletionFunc { return completeKnown(dir, true) }

// completePrograms completes the names of programs.
func completePrograms(dir *string) cobra.CompletionFunc { return completeKnown(dir, false) }

func completeKnown(dir *string, members bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		h, err := openHouse(*dir)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		known, err := h.choose(ctx, nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		candidates := known.names()
		if members {
			candidates = append(candidates, known.members...)
		}
		var names []string
		for _, name := range candidates {
			if strings.HasPrefix(name, start) && !slices.Contains(args, name) {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
