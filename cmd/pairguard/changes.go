package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard/internal/control"
)

// reportChanges says what became of each program; the error names those that do not
// run although they should.
func reportChanges(cmd *cobra.Command, c control.Changes) error {
	if err := printChanges(cmd.OutOrStdout(), c); err != nil {
		return err
	}
	var bad []string
	for _, p := range c.Programs {
		if p.Did == control.CouldNotDo || p.Did == control.CannotFinish {
			bad = append(bad, p.Name)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%s: not as it should be: see 'pairguard status' and 'pairguard events %s'", strings.Join(bad, ", "), bad[0])
	}
	return nil
}

func printChanges(w io.Writer, c control.Changes) error {
	for _, p := range c.Programs {
		line := p.Name + ": " + p.Did
		if p.PID != 0 {
			line += fmt.Sprintf(" (pid %d)", p.PID)
		}
		if p.Reason != "" {
			line += ": " + p.Reason
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
