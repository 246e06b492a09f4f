package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
)

func newStatus() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Show who guards whom",
		Long: "Show every member that is or should be there; one that left or was stopped is shown\n" +
			"when it is named. The exit code is 3 when nothing runs, or one of the members shown\n" +
			"does not.",
		RunE: func(cmd *cobra.Command, names []string) error {
			f, err := pairguard.OpenFolder(dir)
			if err != nil {
				return err
			}
			members, err := f.Members(cmd.Context(), names...)
			if errors.Is(err, pairguard.ErrUnknownName) {
				return &exitError{code: exitNotRunning, err: err}
			}
			if err != nil {
				return err
			}
			return showStatus(cmd, f, members, asJSON)
		},
	}
	dirFlag(cmd, &dir)
	jsonFlag(cmd, &asJSON, "print one JSON object")
	cmd.ValidArgsFunction = completeNames(&dir)
	return cmd
}

func showStatus(cmd *cobra.Command, f *pairguard.Folder, members []pairguard.MemberStatus, asJSON bool) error {
	show := statusTable
	if asJSON {
		show = statusJSON
	}
	if len(members) > 0 || asJSON {
		if err := show(cmd.OutOrStdout(), f.Path(), members); err != nil {
			return err
		}
	}
	if len(members) == 0 {
		err := fmt.Errorf("%s: nothing runs there: start a pair with 'pairguard guard SELF PEER'", f.Path())
		return &exitError{code: exitNotRunning, err: err}
	}
	for _, m := range members {
		if !m.Running {
			return &exitError{code: exitNotRunning}
		}
	}
	return nil
}

func statusTable(w io.Writer, _ string, members []pairguard.MemberStatus) error {
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tPID\tPHASE\tPEER\tPEER PID\tGENERATION\tREVIVED\tNOTE")
	for _, m := range members {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", m.Self, number(m.PID), m.Phase, m.Peer, number(m.PeerPID),
			strconv.FormatUint(m.Generation, 10), m.Revived, note(m))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// number shows a pid; an unknown one is not zero.
func number(pid int) string {
	if pid == 0 {
		return "-"
	}
	return strconv.Itoa(pid)
}

// note is what a person should know beyond the columns.
func note(m pairguard.MemberStatus) string {
	var text string
	add := func(s string) {
		if text != "" {
			text += ", "
		}
		text += s
	}
	if m.HoldLeft > 0 {
		add("held for " + m.HoldLeft.Round(time.Second).String())
	}
	if m.Note != "" {
		add(m.Note)
	}
	if m.Plain {
		add("its peer is plain")
	}
	if m.Running && m.PeerPID != 0 && m.Phase == "up" && !m.GuardsHang {
		add("guards against death only")
	}
	return text
}

// The stable form of `status --json`: fields are added, never renamed.
type (
	statusReport struct {
		Dir           string       `json:"dir"`
		Pairs         []statusPair `json:"pairs"`
		Supervisors   []struct{}   `json:"supervisors"`
		Guarded       bool         `json:"guarded"`
		WhyNotGuarded string       `json:"why_not_guarded"`
		Programs      []struct{}   `json:"programs"`
	}
	statusPair struct {
		Self       string `json:"self"`
		PID        int    `json:"pid"`
		Peer       string `json:"peer"`
		PeerPID    int    `json:"peer_pid"`
		Phase      string `json:"phase"`
		Plain      bool   `json:"plain"`
		GuardsHang bool   `json:"guards_hang"`
		Generation uint64 `json:"generation"`
		Revived    uint64 `json:"revived"`
		Running    bool   `json:"running"`
		HeldMS     int64  `json:"held_ms,omitempty"`
		Note       string `json:"note,omitempty"`
	}
)

func statusJSON(w io.Writer, dir string, members []pairguard.MemberStatus) error {
	report := statusReport{
		Dir: dir, Pairs: []statusPair{}, Supervisors: []struct{}{}, Programs: []struct{}{},
		WhyNotGuarded: "no supervisors run in this folder",
	}
	for _, m := range members {
		report.Pairs = append(report.Pairs, statusPair{
			Self: m.Self, PID: m.PID, Peer: m.Peer, PeerPID: m.PeerPID, Phase: m.Phase, Plain: m.Plain, GuardsHang: m.GuardsHang,
			Generation: m.Generation, Revived: m.Revived, Running: m.Running, HeldMS: m.HoldLeft.Milliseconds(), Note: m.Note,
		})
	}
	return json.NewEncoder(w).Encode(report)
}
