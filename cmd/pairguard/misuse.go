package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// rootArgs turns a first word that is no command into one line that says what
// was probably meant.
func rootArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(cmd, "there is no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usage(cmd, "there is no command %q", args[0])
}

// flagErrors explains wrong flags of the command line args. Behind a command that does
// not exist no flag is right, and it is the command that has to be mended.
func flagErrors(args []string) func(*cobra.Command, error) error {
	return func(cmd *cobra.Command, err error) error {
		if cmd == cmd.Root() && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			return rootArgs(cmd, args)
		}
		var wrong *pflag.InvalidValueError
		if errors.As(err, &wrong) && wrong.GetFlag().Value.Type() == "duration" {
			return usage(cmd, "--%s: %q is not a duration: write a number with a unit, such as 500ms, 10s or 2m", wrong.GetFlag().Name, wrong.GetValue())
		}
		return usage(cmd, "%v", err)
	}
}
