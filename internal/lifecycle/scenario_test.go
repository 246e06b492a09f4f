package lifecycle

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the machine does into the scenario files and docs/programs-states.md; commit it only if you understand it")

// TestScenarios runs every testdata/*.txt. A file is a story in words (lines that begin with #), commands (lines that begin with >)
// and below each command the trace that it leads to: time, event, record, actions.
//
// Commands: policy restart=no backoff=1s backoff-max=60s stable=60s grace=5s signal=INT (also as redefine, redefine changed); start,
// stop, stop now, restart [GEN], hold 10s, unhold; kept, unkept, started, unstarted, signaled, ended CODE|SIGNAL|unknown, gone, over CODE|SIGNAL|unknown (ended and gone in one),
// resolved found|ran|none, each of the present generation; up: kept and started; run 2s: time passes, with a Tick at each deadline;
// takeover [disk] [found=GEN]: another machine goes on from the record.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScenario(t, file) })
	}
}

func runScenario(t *testing.T, file string) {
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{policy: Defaults(), now: time.Second}
	for i, line := range strings.Split(string(want), "\n") {
		switch {
		case strings.HasPrefix(line, ">"):
			s.text.WriteString(line + "\n")
			if err := s.command(strings.Fields(line[1:])); err != nil {
				t.Fatalf("%s:%d: %v", file, i+1, err)
			}
		case strings.HasPrefix(line, "#"):
			s.text.WriteString(line + "\n")
		}
	}
	if *update {
		if err := os.WriteFile(file, s.text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := s.text.String(); got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s: the machine does something else (rerun with -update and look at the difference):\n%s", file, got)
	}
}

// story is a machine, its clock, and what has been told so far.
type story struct {
	policy  Policy
	machine *Machine
	now     time.Duration
	text    bytes.Buffer
}

func (s *story) step(name string, e Event) {
	actions := s.machine.Step(s.now, e)
	fmt.Fprintf(&s.text, "%8.3f  %-12s %s", s.now.Seconds(), name, recordText(s.machine.Record()))
	if len(actions) > 0 {
		fmt.Fprintf(&s.text, "  ->  %s", actionsText(actions))
	}
	s.text.WriteString("\n")
}

func (s *story) command(words []string) error {
	arg := func() string { return strings.Join(words[1:], " ") }
	switch words[0] {
	case "policy", "redefine":
		return s.define(words)
	}
	if s.machine == nil {
		s.machine = New(s.policy, nil)
	}
	gen := s.machine.Record().Generation
	switch words[0] {
	case "run":
		return s.run(arg())
	case "up":
		s.step("IntentKept", IntentKept{gen})
		s.step("Started", Started{gen})
	case "takeover":
		b := Begin{FromDisk: strings.Contains(arg(), "disk")}
		if _, found, is := strings.Cut(arg(), "found="); is {
			b.Found, _ = strconv.ParseUint(found, 10, 64)
		}
		s.machine = Restore(s.policy, s.machine.Record(), nil)
		s.step("Begin", b)
	default:
		e, err := parseEvent(words[0], arg(), gen)
		if err != nil {
			return err
		}
		s.step(strings.TrimPrefix(fmt.Sprintf("%T", e), "lifecycle."), e)
	}
	return nil
}

func parseEvent(word, arg string, gen uint64) (Event, error) {
	switch word {
	case "start":
		return Start{}, nil
	case "stop":
		return Stop{Now: arg == "now"}, nil
	case "restart":
		n, _ := strconv.ParseUint(arg, 10, 64)
		return Restart{n}, nil
	case "hold":
		d, err := time.ParseDuration(arg)
		return Hold{d}, err
	case "unhold":
		return Unhold{}, nil
	case "kept":
		return IntentKept{gen}, nil
	case "unkept":
		return IntentFailed{gen, "no space left on device"}, nil
	case "started":
		return Started{gen}, nil
	case "unstarted":
		return StartFailed{gen, "no such file or directory"}, nil
	case "signaled":
		return Signaled{gen}, nil
	case "ended":
		return Ended{Gen: gen, Exit: parseExit(arg)}, nil
	case "over":
		return Ended{gen, parseExit(arg), true}, nil
	case "gone":
		return TreeGone{gen}, nil
	case "resolved":
		return Resolved{Gen: gen, Found: arg == "found", Ran: arg == "ran"}, nil
	}
	return nil, fmt.Errorf("unknown command %q", word)
}

func parseExit(s string) Exit {
	if s == "unknown" {
		return Exit{}
	}
	if n, err := strconv.Atoi(s); err == nil {
		return Exit{Known: true, Code: n}
	}
	return Exit{Known: true, Signal: s}
}

func (s *story) run(arg string) error {
	d, err := time.ParseDuration(arg)
	if err != nil {
		return err
	}
	end := s.now + d
	for {
		at, any := s.machine.Deadline()
		if !any || at > end {
			break
		}
		s.now = at
		s.step("Tick", Tick{})
	}
	s.now = end
	return nil
}

func (s *story) define(words []string) (err error) {
	changed := false
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "changed":
			changed = true
		case "restart":
			s.policy.Restart, err = ParseCondition(value)
		case "backoff":
			s.policy.Backoff, err = time.ParseDuration(value)
		case "backoff-max":
			s.policy.BackoffMax, err = time.ParseDuration(value)
		case "stable":
			s.policy.Stable, err = time.ParseDuration(value)
		case "grace":
			s.policy.Grace, err = time.ParseDuration(value)
		case "signal":
			s.policy.StopSignal = value
		default:
			err = fmt.Errorf("unknown setting %q", key)
		}
		if err != nil {
			return err
		}
	}
	if words[0] == "redefine" {
		s.step("Redefine", Redefine{s.policy, changed})
	}
	return nil
}
