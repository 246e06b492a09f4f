// Command pairguard keeps two processes of one machine alive by each other. The
// manual page is docs/man/pairguard.1.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command without its process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetFlagErrorFunc(flagErrors(args))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	return report(cmd, err, stderr)
}

func newRoot() *cobra.Command {
	version := false
	root := &cobra.Command{
		Use:   "pairguard",
		Short: "Two processes keep each other alive",
		Long: "Two processes of one machine keep each other alive: when one dies or hangs, the\n" +
			"other makes sure that it is really gone and starts it again. 'guard' does it for a\n" +
			"pair of your own; 'run' and 'up' guard any program by two supervisors that do it.\n\n" +
			"See it first:   pairguard demo",
		SilenceErrors: true, // report prints them, one line each
		SilenceUsage:  true,
		// How many wrong letters still make a suggestion.
		SuggestionsMinimumDistance: 2,
		Args:                       rootArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return printVersion(cmd)
			}
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return &exitError{code: exitUsage}
		},
	}
	root.Flags().BoolVar(&version, "version", false, "print the version")
	root.AddCommand(newGuard(), newRun(), newUp(), newDown(), newStatus(), newStart(), newStop(), newRestart(), newHold(), newUnhold(),
		newLogs(), newEvents(), newDemo(), newDrill(), newVersion(), newSupervise())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	mendGenerated(root)
	return root
}

// mendGenerated makes the commands that cobra brings along obey the rules of the
// others: a wrong line is an error and not an explanation with exit code 0.
func mendGenerated(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(c *cobra.Command, _ []string) error {
				return usage(c, "completion needs the name of a shell: bash, fish, powershell or zsh")
			}
		case "help":
			c.Run = nil
			c.RunE = func(c *cobra.Command, args []string) error {
				about, rest, err := c.Root().Find(args)
				if err != nil || len(rest) > 0 {
					return rootArgs(c.Root(), args)
				}
				about.InitDefaultHelpFlag()
				return about.Help()
			}
		}
	}
}

// report prints what went wrong as one line and chooses the exit code.
func report(cmd *cobra.Command, err error, stderr io.Writer) int {
	if err == nil {
		return exitDone
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: exitFailed, err: err}
		if isCobraUsage(err) {
			exit = usage(cmd, "%v", err)
		}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, oneLine(exit.err))
	}
	return exit.code
}

// oneLine is the form of every error: "pairguard: culprit: what to do".
func oneLine(err error) string {
	text := strings.TrimPrefix(err.Error(), "pairguard: ")
	return "pairguard: " + strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// isCobraUsage recognises the errors that cobra makes itself, which have no type:
// those of its own help and completion commands.
func isCobraUsage(err error) bool {
	for _, start := range []string{"unknown command", "unknown flag", "accepts ", "requires "} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}
