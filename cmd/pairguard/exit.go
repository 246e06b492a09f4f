package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Exit codes of every command; they stand in the manual page.
const (
	exitDone       = 0   // done, or already so
	exitFailed     = 1   // failed; one line on stderr says why
	exitUsage      = 2   // the command line is wrong
	exitNotRunning = 3   // status: something asked for does not run
	exitNameTaken  = 100 // guard: another process holds the name
)

// exitCodes lists them all, for the test of the manual page.
var exitCodes = []int{exitDone, exitFailed, exitUsage, exitNotRunning, exitNameTaken}

// exitError is an end with a code of its own; without err nothing is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is the error of a command line that is wrong; it names the help to read.
func usage(cmd *cobra.Command, format string, args ...any) *exitError {
	text := fmt.Sprintf(format, args...)
	return &exitError{code: exitUsage, err: errors.New(text + ": see '" + cmd.CommandPath() + " --help'")}
}

// noArgs rejects every argument.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "%s takes no argument, got %q", cmd.Name(), args[0])
	}
	return nil
}
