package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/lifecycle"
)

func newStatus() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Show what runs and who guards whom",
		Long: "Show the programs, whether they are guarded, and every member of a pair that is or\n" +
			"should be there; one that left or was stopped is shown when it is named. The exit\n" +
			"code is 3 when nothing runs, or something that should does not, or one that is named.",
		RunE: func(cmd *cobra.Command, names []string) error {
			h, err := openHouse(dir)
			if err != nil {
				return err
			}
			s, err := h.survey(cmd.Context(), names)
			if errors.Is(err, pairguard.ErrUnknownName) {
				return &exitError{code: exitNotRunning, err: err}
			}
			if err != nil {
				return err
			}
			return s.show(cmd, asJSON)
		},
	}
	dirFlag(cmd, &dir)
	jsonFlag(cmd, &asJSON, "print one JSON object")
	cmd.ValidArgsFunction = completeNames(&dir)
	return cmd
}

// survey is what status shows.
type survey struct {
	control.Status
	members []pairguard.MemberStatus
	named   bool // somebody asked for just these
}

func (h *house) survey(ctx context.Context, names []string) (s survey, err error) {
	s.named = len(names) > 0
	if s.Status, _, err = h.programs(ctx); err != nil {
		return s, err
	}
	members := names
	if s.named {
		c, err := h.choose(ctx, names)
		if err != nil {
			return s, err
		}
		members, s.Programs = c.members, append([]control.Program{}, c.programs...)
		if len(members) == 0 {
			return s, nil
		}
	}
	s.members, err = h.folder.Members(ctx, members...)
	if !s.named { // they have a line of their own
		s.members = slices.DeleteFunc(s.members, func(m pairguard.MemberStatus) bool { return isSupervisor(m.Self) })
	}
	return s, err
}

func (s survey) show(cmd *cobra.Command, asJSON bool) error {
	nothing := len(s.members)+len(s.Programs) == 0
	w := cmd.OutOrStdout()
	switch {
	case asJSON:
		if err := s.json(w); err != nil {
			return err
		}
	case !nothing:
		if err := s.tables(w); err != nil {
			return err
		}
	}
	if nothing {
		err := fmt.Errorf("%s: nothing runs there: 'pairguard guard SELF PEER' starts a pair, 'pairguard run -- COMMAND' a program", s.Dir)
		return &exitError{code: exitNotRunning, err: err}
	}
	if !s.allRun() {
		return &exitError{code: exitNotRunning}
	}
	return nil
}

// allRun: something runs, and everything that should; everything that was named.
func (s survey) allRun() bool {
	running := 0
	for _, m := range s.members {
		if !m.Running {
			return false
		}
		running++
	}
	for _, p := range s.Programs {
		switch {
		case p.PID != 0 && lifecycle.State(p.State) != lifecycle.Stopping:
			running++
		case s.named || live(p) || lifecycle.State(p.State) == lifecycle.Fatal:
			return false
		}
	}
	return running > 0
}

// tables are for people: programs, who guards them, pairs.
func (s survey) tables(w io.Writer) error {
	if len(s.Programs) > 0 {
		if err := programTable(w, s.Programs); err != nil {
			return err
		}
	}
	if anyLive(s.Programs) { // supervisors have nothing to do for the others
		if _, err := fmt.Fprintln(w, guardLine(s.Status)); err != nil {
			return err
		}
	}
	if len(s.members) == 0 {
		return nil
	}
	if len(s.Programs) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return statusTable(w, s.members)
}

func programTable(w io.Writer, programs []control.Program) error {
	rows := []string{"PROGRAM\tSTATE\tPID\tSINCE\tRESTARTS\tNOTE"}
	for _, p := range programs {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%s", p.Name, p.State, number(p.PID), p.Since.Local().Format("2006-01-02 15:04:05"), p.Restarts, programNote(p)))
	}
	return table(w, rows)
}

// programNote is what a person should know beyond the columns.
func programNote(p control.Program) string {
	var parts []string
	if p.NextStart != nil && p.HeldUntil == nil {
		parts = append(parts, "starts in "+max(time.Until(*p.NextStart), 0).Round(100*time.Millisecond).String())
	}
	if p.HeldUntil != nil {
		parts = append(parts, "held for "+max(time.Until(*p.HeldUntil), 0).Round(time.Second).String())
	}
	if p.Note != "" {
		parts = append(parts, p.Note)
	}
	if p.Log.Dropped > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes of output dropped", p.Log.Dropped))
	}
	return strings.Join(parts, ", ")
}

// guardLine says who guards the programs.
func guardLine(s control.Status) string {
	var who []string
	for _, one := range s.Supervisors {
		who = append(who, fmt.Sprintf("pid %d (%s)", one.PID, one.Role))
	}
	line := "guarded by " + strings.Join(who, " and ")
	if !s.Guarded {
		line = "NOT GUARDED: " + s.WhyNotGuarded
		if len(who) > 0 {
			line += "; supervisors: " + strings.Join(who, ", ")
		}
	}
	return line
}

func statusTable(w io.Writer, members []pairguard.MemberStatus) error {
	rows := []string{"NAME\tPID\tPHASE\tPEER\tPEER PID\tGENERATION\tREVIVED\tNOTE"}
	for _, m := range members {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s", m.Self, number(m.PID), m.Phase, m.Peer, number(m.PeerPID),
			m.Generation, m.Revived, note(m)))
	}
	return table(w, rows)
}

// table writes rows, whose cells end with tabs, in columns.
func table(w io.Writer, rows []string) error {
	var text strings.Builder
	tw := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, row)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
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
		Dir           string               `json:"dir"`
		Pairs         []statusPair         `json:"pairs"`
		Supervisors   []control.Supervisor `json:"supervisors"`
		Guarded       bool                 `json:"guarded"`
		WhyNotGuarded string               `json:"why_not_guarded"`
		Programs      []control.Program    `json:"programs"`
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

func (s survey) json(w io.Writer) error {
	report := statusReport{
		Dir: s.Dir, Pairs: []statusPair{}, Supervisors: s.Supervisors, Programs: s.Programs,
		Guarded: s.Guarded, WhyNotGuarded: s.WhyNotGuarded,
	}
	for _, m := range s.members {
		report.Pairs = append(report.Pairs, statusPair{
			Self: m.Self, PID: m.PID, Peer: m.Peer, PeerPID: m.PeerPID, Phase: m.Phase, Plain: m.Plain, GuardsHang: m.GuardsHang,
			Generation: m.Generation, Revived: m.Revived, Running: m.Running, HeldMS: m.HoldLeft.Milliseconds(), Note: m.Note,
		})
	}
	return json.NewEncoder(w).Encode(report)
}
