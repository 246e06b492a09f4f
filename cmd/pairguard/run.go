package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/cmd/pairguard/file"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

// runOptions are the flags of run.
type runOptions struct {
	dir, name string
	detach    bool
	policy    policyFlags
}

func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [--name NAME] [-d] [flags] -- COMMAND [ARG...]",
		Short: "Guard an unmodified program",
		Long: "Start COMMAND under the guard of two supervisors, which guard each other, and show\n" +
			"its output. kill -9 of either supervisor, at any instant, neither stops nor doubles\n" +
			"nor silences it. The supervisors are started if there are none.\n\n" +
			"Ctrl-C stops the program (twice: at once); this command ends when it has ended, with\n" +
			"its exit code. Losing the terminal, or the end of this command, changes nothing:\n" +
			"'pairguard logs -f NAME' shows the output, 'pairguard stop NAME' ends it.",
		Example: "  pairguard run -- ./server --port 8080\n  pairguard run --name db -d --restart on-failure -- redis-server",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "run needs a COMMAND")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runProgram(cmd, &o, args) },
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows COMMAND is its own
	dirFlag(cmd, &o.dir)
	f.StringVar(&o.name, "name", "", "what the program is called (default: the last element of COMMAND)")
	f.BoolVarP(&o.detach, "detach", "d", false, "return at once")
	o.policy.add(f)
	return cmd
}

func runProgram(cmd *cobra.Command, o *runOptions, args []string) error {
	h, err := openHouse(o.dir)
	if err != nil {
		return err
	}
	def, err := o.definition(cmd, args)
	if err != nil {
		return err
	}
	if err := h.refuseMember(cmd.Context(), def.Name); err != nil {
		return err
	}
	client, err := h.starter()
	if err != nil {
		return err
	}
	// Before the start, so that the first byte is shown.
	path := def.LogFile(h.folder.Path())
	from, err := output.End(path)
	if err != nil {
		return err
	}
	result, err := client.Run(cmd.Context(), control.RunParams{Program: def, Request: rand.Text()})
	if control.IsCode(err, control.CodeTaken) {
		return &exitError{code: exitNameTaken, err: err}
	}
	if err != nil {
		return err
	}
	if o.detach {
		return reportRun(cmd, result)
	}
	f := &front{client: client, name: def.Name, log: path, from: from, out: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr()}
	return f.stay(cmd.Context(), result)
}

// definition makes that of the command line.
func (o *runOptions) definition(cmd *cobra.Command, args []string) (control.Definition, error) {
	def := control.Default()
	o.policy.put(cmd.Flags(), &def)
	dir, err := os.Getwd()
	if err != nil {
		return def, fmt.Errorf("the working directory is not known: %w", err)
	}
	def.Dir, def.Inherit = dir, environment(cmd)
	def.Name = o.name
	if def.Name == "" {
		def.Name = strings.TrimSuffix(filepath.Base(args[0]), ".exe")
		if control.CheckName(def.Name) != nil {
			return def, usage(cmd, "%q cannot be the name of a program: choose one with --name", def.Name)
		}
	}
	command, temporary, err := file.Command(args, dir)
	if err != nil {
		return def, err
	}
	if temporary {
		warnTemporary(cmd, def.Name, command[0])
	}
	def.Command = command
	if err := def.Validate(); err != nil {
		return def, flagError(cmd, err)
	}
	return def, nil
}

func warnTemporary(cmd *cobra.Command, name, path string) {
	fmt.Fprintf(cmd.ErrOrStderr(), "pairguard: %s: %s lies in a temporary folder: when it is gone, it cannot be started again\n", name, path)
}

// environment is what programs inherit from this process.
func environment(cmd *cobra.Command) []string {
	var env []string
	for _, entry := range inherited() {
		if !utf8.ValidString(entry) {
			key, _, _ := strings.Cut(entry, "=")
			fmt.Fprintf(cmd.ErrOrStderr(), "pairguard: the variable %q is not UTF-8 and is left out\n", key)
			continue
		}
		env = append(env, entry)
	}
	return env
}

// refuseMember: stop and hold of a name must mean one thing.
func (h *house) refuseMember(ctx context.Context, name string) error {
	members, err := h.folder.Members(ctx, name)
	if errors.Is(err, pairguard.ErrUnknownName) || err == nil && members[0].Phase == pairguard.PhaseEnded {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the name %s is that of a member of a pair in %s: choose another", name, h.folder.Path())
}

// reportRun is what run -d says.
func reportRun(cmd *cobra.Command, r control.RunResult) error {
	if r.PID == 0 {
		return fmt.Errorf("%s does not run yet: %s: see 'pairguard status %s'", r.Name, r.Reason, r.Name)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: started (pid %d)\n", r.Name, r.PID)
	return err
}

// codeOf is the exit code of a front: the program's own, 128 and its number for a
// signal.
func codeOf(e *control.Exit) int {
	switch {
	case e == nil || e.Code == nil && e.Signal == nil:
		return exitFailed
	case e.Code != nil:
		return *e.Code
	}
	if n := signalNumber(*e.Signal); n > 0 {
		return 128 + n
	}
	return exitFailed
}
