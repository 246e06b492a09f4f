package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

func newLogs() *cobra.Command {
	var dir string
	var follow, all bool
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show the output of a program",
		Long: "Show what the program has written, its own bytes and nothing added: the newest log\n" +
			"file, with --all the older ones before it.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "logs needs the name of one program")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := openHouse(dir)
			if err != nil {
				return err
			}
			spec, err := h.logOf(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return showLog(cmd, args[0], spec, follow, all)
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written next, until Ctrl-C")
	cmd.Flags().BoolVar(&all, "all", false, "begin with the oldest file that was kept")
	cmd.ValidArgsFunction = completePrograms(&dir)
	return cmd
}

func showLog(cmd *cobra.Command, name string, spec output.LogSpec, follow, all bool) error {
	at, err := output.Copy(cmd.OutOrStdout(), spec, all)
	if errors.Is(err, fs.ErrNotExist) {
		if !follow {
			return fmt.Errorf("%s has written nothing yet: there is no %s", name, spec.Path)
		}
		err = nil
	}
	if err != nil || !follow {
		return err
	}
	ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	return output.Follow(ctx, cmd.OutOrStdout(), spec.Path, at)
}

// logOf finds the log of a program; also that of one that was forgotten.
func (h *house) logOf(ctx context.Context, name string) (output.LogSpec, error) {
	st, _, err := h.programs(ctx)
	if err != nil {
		return output.LogSpec{}, err
	}
	i := slices.IndexFunc(st.Programs, func(p control.Program) bool { return p.Name == name })
	if i >= 0 {
		l := st.Programs[i].Log
		return output.LogSpec{Path: l.File, Size: l.Size, Keep: l.Keep}, nil
	}
	if control.CheckName(name) == nil {
		d := control.Definition{Name: name}
		if path := d.LogFile(h.folder.Path()); exists(path) {
			return output.LogSpec{Path: path}, nil
		}
	}
	if len(st.Programs) == 0 {
		return output.LogSpec{}, fmt.Errorf("%w %q: no program is defined in %s: 'pairguard run' or 'up' does it, --dir names another folder",
			pairguard.ErrUnknownName, name, h.folder.Path())
	}
	return output.LogSpec{}, h.unknown(ctx, name, st, nil)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
