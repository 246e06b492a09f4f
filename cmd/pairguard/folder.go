package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
)

// dirFlag adds --dir, which means the same everywhere.
func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "folder where the members meet (default: $PAIRGUARD_DIR, else one that depends on the user alone)")
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, on *bool, what string) {
	cmd.Flags().BoolVar(on, "json", false, what)
}

// completeNames completes the names that the folder knows.
func completeNames(dir *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		f, err := pairguard.OpenFolder(*dir)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		members, err := f.Members(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, m := range members {
			if strings.HasPrefix(m.Self, start) && !slices.Contains(args, m.Self) {
				names = append(names, m.Self)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
