package protocol

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

	"github.com/pairguard/pairguard/internal/restart"
	"github.com/pairguard/pairguard/internal/wire"
)

var update = flag.Bool("update", false, "write what the machine does into the scenario files and docs/states.md; commit it only if you understand it")

// TestScenarios runs every testdata/*.txt. A file is a story in words (lines that
// begin with #), commands (lines that begin with >) and below each command the
// whole trace that it leads to: time, event, phases passed, and the actions.
//
// Commands:
//
//	config timeout=2s plain ...      before begin; everything else has its default
//	begin [survey]                   Begun
//	settled                          begun, and up with p7 over the links 1 (ours) and 2 (its), untold
//	run 2s                           let time pass, with a Tick at each deadline
//	sleep 2s                         let time pass without a Tick: we are the late one
//	sees starved                     what an Examine of any process finds from now on (see sights)
//	dialed 1 p7 [probe]              and so on: one event, its link, its process
//
// A survey is any of: holder=p7 recorded=p7 unseen left stop=why held=5s err=why generation=9.
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
	s := newStory()
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
	if got := s.text.String(); got != string(want) {
		t.Errorf("%s: the machine does something else (rerun with -update and look at the difference):\n%s", file, firstDifference(string(want), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %q\ngot  %q", i+1, at(w, i), g[i])
		}
	}
	return fmt.Sprintf("line %d is missing: %q", len(g)+1, at(w, len(g)))
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// story is a machine, its clock, and what has been told so far.
type story struct {
	cfg     Config
	machine *Machine
	now     time.Duration
	sees    string // what an Examine finds; nothing: it is never answered
	text    bytes.Buffer
}

func testConfig() Config {
	return Config{
		Self: "procA", Peer: "procB", PID: 100, Generation: 4,
		Heartbeat: time.Second, Timeout: 2 * time.Second, StartTimeout: 10 * time.Second,
		Grace: 5 * time.Second, Patience: 500 * time.Millisecond, UnsureLimit: 30 * time.Second,
		Restart: restart.Policy{Backoff: 500 * time.Millisecond, Max: 2 * time.Second, Stable: 10 * time.Second},
		Random:  func() float64 { return 0 },
	}
}

func newStory() *story { return &story{cfg: testConfig(), sees: "asleep"} }

func (s *story) command(words []string) error {
	if len(words) == 0 {
		return fmt.Errorf("an empty command")
	}
	a := parseArguments(words[1:])
	if s.machine == nil {
		if words[0] == "config" {
			return s.configure(a)
		}
		s.machine = New(s.cfg)
	}
	switch words[0] {
	case "settled":
		return s.settle(a)
	case "sees":
		s.sees = words[1]
		if s.sees != "nothing" && sights[s.sees] == nil {
			return fmt.Errorf("nobody can be seen %s", s.sees)
		}
		return nil
	case "run", "sleep":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		if words[0] == "run" {
			s.runUntil(s.now + d)
			return nil
		}
		s.now += d
		return nil
	}
	event, err := a.event(words[0])
	if err != nil {
		return err
	}
	s.step(event)
	return nil
}

func (s *story) configure(a arguments) error {
	s.cfg.PlainPermitted, s.cfg.Dump = a.has("plain"), a.has("dump")
	for key, to := range map[string]*time.Duration{
		"timeout": &s.cfg.Timeout, "backoff": &s.cfg.Restart.Backoff, "start": &s.cfg.StartTimeout, "patience": &s.cfg.Patience,
		"starve": &s.cfg.StarveLimit, "unsure": &s.cfg.UnsureLimit,
	} {
		if v, ok := a.values[key]; ok {
			d, err := time.ParseDuration(v)
			if err != nil {
				return err
			}
			*to = d
		}
	}
	return nil
}

// settle brings the machine Up with p7, without telling.
func (s *story) settle(a arguments) error {
	told := s.text.Len()
	p := parseProcess("p7")
	s.step(Begun{Survey{Holder: p}})
	s.step(Dialed{Link: 1, Process: p})
	if a.has("mute") {
		s.step(PlainHeard{Link: 2, Process: p})
	} else {
		s.step(Greeted{1, p, a.hello()})
		s.step(Greeted{2, p, a.hello()})
	}
	s.text.Truncate(told)
	return nil
}

// runUntil ticks at each deadline up to end.
func (s *story) runUntil(end time.Duration) {
	for range 10_000 {
		due := s.machine.Deadline()
		if due > end {
			break
		}
		s.now = max(s.now, due)
		s.step(Ticked{})
	}
	s.now = end
}

func (s *story) step(e Event) {
	from := s.machine.Phase()
	actions := s.machine.Step(s.now, e)
	phases := from.String()
	if to := s.machine.Phase(); to != from {
		phases += " -> " + to.String()
	}
	fmt.Fprintf(&s.text, "    %-8v %s [%s]\n", s.now, eventText(e), phases)
	for _, a := range actions {
		fmt.Fprintf(&s.text, "                 %s\n", actionText(a))
	}
	for _, a := range actions {
		if x, ok := a.(Examine); ok && s.sees != "nothing" {
			s.step(Examined{x.Process, sights[s.sees](s.now)})
		}
	}
}

// arguments are the words after a command: values, flags, links and processes.
type arguments struct {
	values    map[string]string
	flags     map[string]bool
	link      Link
	processes []Process
	rest      []string
}

func parseArguments(words []string) arguments {
	a := arguments{values: map[string]string{}, flags: map[string]bool{}}
	for _, w := range words {
		key, value, isValue := strings.Cut(w, "=")
		switch n, err := strconv.Atoi(w); {
		case isValue:
			a.values[key] = value
		case err == nil:
			a.link = Link(n)
		case isProcess(w):
			a.processes = append(a.processes, parseProcess(w))
		default:
			a.flags[w] = true
			a.rest = append(a.rest, w)
		}
	}
	return a
}

func (a arguments) has(flag string) bool { return a.flags[flag] }

func isProcess(w string) bool {
	_, err := strconv.Atoi(strings.TrimPrefix(w, "p"))
	return strings.HasPrefix(w, "p") && err == nil
}

// parseProcess: p7 is the process with the handle 7 and the pid 1007; p0 is one
// without a handle.
func parseProcess(w string) Process {
	n, _ := strconv.ParseUint(strings.TrimPrefix(w, "p"), 10, 32)
	if n == 0 {
		return Process{}
	}
	return Process{Handle: n, PID: 1000 + int(n)}
}

func (a arguments) process() Process {
	if len(a.processes) == 0 {
		return Process{}
	}
	return a.processes[0]
}

func (a arguments) survey() (s Survey, err error) {
	if v, ok := a.values["holder"]; ok {
		s.Holder = parseProcess(v)
	}
	if v, ok := a.values["recorded"]; ok {
		s.Recorded = parseProcess(v)
	}
	s.HolderUnseen, s.PeerLeft, s.Err = a.has("unseen"), a.has("left"), a.values["err"]
	s.Generation, _ = strconv.ParseUint(a.values["generation"], 10, 64)
	s.Speaks = s.Generation > 0
	s.StopReason, s.Stopped = a.values["stop"]
	if v, ok := a.values["held"]; ok {
		s.HeldFor, err = time.ParseDuration(v)
	}
	return s, err
}

func (a arguments) token() uint64 {
	n, _ := strconv.ParseUint(a.values["token"], 10, 64)
	return n
}

func (a arguments) event(word string) (Event, error) {
	reason := a.values["reason"]
	survey, err := a.survey()
	if err != nil {
		return nil, err
	}
	switch word {
	case "begin":
		return Begun{survey}, nil
	case "tick":
		return Ticked{}, nil
	case "dialed":
		return Dialed{Link: a.link, Process: a.process(), Probe: a.has("probe")}, nil
	case "dialfailed":
		return DialFailed{Probe: a.has("probe"), Absent: a.has("absent"), Reason: reason}, nil
	case "greeted":
		return Greeted{a.link, a.process(), a.hello()}, nil
	case "plain":
		return PlainHeard{a.link, a.process()}, nil
	case "beat":
		return BeatHeard{a.link, wire.Beat{Healthy: !a.has("bad"), Age: a.duration("age"), Reason: reason}}, nil
	case "bye":
		return ByeHeard{a.link, wire.Bye{Kind: a.kind(), Reason: reason}}, nil
	case "refused":
		return RefusedHeard{a.link, reason}, nil
	case "lost":
		return LinkLost{a.link}, nil
	case "died":
		return Died{a.process(), "signal KILL"}, nil
	case "started":
		return Started{a.process()}, nil
	case "startfailed":
		return StartFailed{reason}, nil
	case "surveyed":
		return Surveyed{a.token(), survey}, nil
	case "look":
		return LookAsked{}, nil
	case "stored":
		return GoodbyeStored{a.kind(), a.values["err"]}, nil
	case "leave":
		return LeaveAsked{reason}, nil
	case "stop":
		return StopAsked{reason}, nil
	}
	return nil, fmt.Errorf("unknown command %q", word)
}

func (a arguments) hello() wire.Hello {
	h := wire.Hello{Version: 1, Self: "procB", Peer: "procA", PID: a.process().PID, Generation: 9, Heartbeat: time.Second, Healthy: !a.has("bad")}
	if v, ok := a.values["self"]; ok {
		h.Self = v
	}
	if v, ok := a.values["version"]; ok {
		h.Version, _ = strconv.Atoi(v)
	}
	return h
}

func (a arguments) kind() wire.GoodbyeKind {
	if a.has("stop") {
		return wire.Stop
	}
	return wire.Leave
}

func (a arguments) duration(key string) time.Duration {
	d, _ := time.ParseDuration(a.values[key])
	return d
}
