package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard/cmd/pairguard/file"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/ipc"
)

func newUp() *cobra.Command {
	var dir, path string
	cmd := &cobra.Command{
		Use:   "up [-f FILE]",
		Short: "Make what runs equal to a file",
		Long: "Start the programs of the file, change those that the file says something else about\n" +
			"(they are restarted only if their command, directory or variables differ), start those\n" +
			"that were stopped, and end those that are not in it. What is as it should be is not\n" +
			"touched. The supervisors are started if there are none.\n\n" +
			"An error in the file is told with its line, and then nothing is changed.",
		Example: "  pairguard up\n  pairguard up -f /etc/pairguard.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := openHouse(dir)
			if err != nil {
				return err
			}
			return up(cmd, h, path)
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().StringVarP(&path, "file", "f", "pairguard.yaml", "the file")
	return cmd
}

func up(cmd *cobra.Command, h *house, path string) error {
	programs, err := file.Read(path, filepath.Join(h.folder.Path(), "logs"))
	if err != nil {
		return err
	}
	p := control.UpParams{Programs: []control.Definition{}, Inherit: environment(cmd), Prune: true}
	for _, one := range programs {
		if err := h.refuseMember(cmd.Context(), one.Name); err != nil {
			return err
		}
		if one.Temporary {
			warnTemporary(cmd, one.Name, one.Command[0])
		}
		p.Programs = append(p.Programs, one.Definition)
	}
	client, err := h.starter()
	if err != nil {
		return err
	}
	if len(programs) == 0 { // nothing is started just to find that there is nothing
		if client, err = h.client(nil); err != nil {
			return err
		}
	}
	changes, err := client.Up(cmd.Context(), p)
	if len(programs) == 0 && errors.Is(err, ipc.ErrAbsent) {
		return down(cmd, h)
	}
	if err != nil {
		return err
	}
	return reportChanges(cmd, changes)
}

func newDown() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End all programs and the supervisors",
		Long: "End all programs of the folder with everything that they started, forget them, and\n" +
			"end the supervisors. Pairs of 'pairguard guard' stay: 'pairguard stop' ends these, too.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := openHouse(dir)
			if err != nil {
				return err
			}
			return down(cmd, h)
		},
	}
	dirFlag(cmd, &dir)
	return cmd
}

// downPatience is how long the supervisors may take to end when they have nothing
// more to do.
const downPatience = 10 * time.Second

// down also ends programs whose supervisors both died: new ones find them first.
func down(cmd *cobra.Command, h *house) error {
	ctx := cmd.Context()
	known, listening, err := h.programs(ctx)
	if err != nil {
		return err
	}
	if !listening && len(known.Programs) == 0 {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "no program in %s\n", h.folder.Path())
		return err
	}
	client, err := h.starter()
	if err != nil {
		return err
	}
	changes, err := client.Down(ctx, control.DownParams{})
	if err != nil {
		return err
	}
	if len(changes.Programs) == 0 { // it was done, and the answer got lost
		for _, p := range known.Programs {
			changes.Programs = append(changes.Programs, control.Change{Name: p.Name, Did: control.DidRemove, PID: p.PID, Generation: p.Generation})
		}
	}
	if err := reportChanges(cmd, changes); err != nil {
		return err
	}
	gone, err := h.supervisorsGone(ctx, downPatience)
	if err == nil && !gone {
		err = fmt.Errorf("the supervisors have not ended within %v: see 'pairguard status'; 'pairguard stop' ends them by force", downPatience)
	}
	return err
}
