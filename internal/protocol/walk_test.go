package protocol

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/wire"
)

const statesFile = "../../docs/states.md"

// situation is a way into a phase.
type situation struct {
	name  string
	phase Phase
	plain bool // plain peers are permitted
	path  []Event
}

var (
	p7, p8, p9 = parseProcess("p7"), parseProcess("p8"), parseProcess("p9")
	goodHello  = wire.Hello{Version: 1, Self: "procB", Peer: "procA", PID: 1007, Generation: 9, Heartbeat: time.Second, Healthy: true}
	badHello   = wire.Hello{Version: 2}
)

func situations() []situation {
	begun := []Event{Begun{Survey{Holder: p7}}}
	up := append(slices.Clone(begun), Dialed{Link: 1, Process: p7}, Greeted{1, p7, goodHello}, Greeted{2, p7, goodHello})
	after := func(more ...Event) []Event { return append(slices.Clone(up), more...) }
	silent := func(n int) []Event { return after(slices.Repeat([]Event{Ticked{}}, n)...) }
	return []situation{
		{"unbegun", Unbegun, false, nil},
		{"seeking", Seeking, false, []Event{Begun{}}},
		{"starting, a process found", Starting, false, begun},
		{"starting, a process started", Starting, false, []Event{Begun{}, Ticked{}, Surveyed{Token: 1}, Started{p7}}},
		{"up", Up, false, up},
		{"up, with a start under way", Up, false, []Event{Begun{}, Ticked{}, Surveyed{Token: 1}, Dialed{Link: 1, Process: p8}, Greeted{2, p7, goodHello}}},
		{"up, plain", Up, true, append(slices.Clone(begun), Dialed{Link: 1, Process: p7}, PlainHeard{2, p7})},
		{"up, held", Up, false, after(LookAsked{}, Surveyed{1, Survey{HeldFor: time.Minute}})},
		{"suspect", Suspect, false, silent(3)},
		{"suspect, excused", Suspect, false, append(silent(3), Examined{p7, sights["traced"](0)}, Ticked{}, Examined{p7, sights["traced"](0)})},
		{"fencing", Fencing, false, silent(10)},
		{"reviving, reading the folder", Reviving, false, after(Died{Process: p7})},
		{"reviving, starting", Reviving, false, after(Died{Process: p7}, Surveyed{Token: 1})},
		{"waiting", Waiting, false, after(Died{Process: p7}, Surveyed{Token: 1}, StartFailed{})},
		{"left", Left, false, after(ByeHeard{2, wire.Bye{Kind: wire.Leave}})},
		{"ending, storing a leave", Ending, false, after(LeaveAsked{})},
		{"ending, storing a stop", Ending, false, after(StopAsked{})},
		{"ending, waiting for the peer", Ending, false, after(StopAsked{}, GoodbyeStored{Kind: wire.Stop})},
		{"ended", Ended, false, after(LeaveAsked{}, GoodbyeStored{Kind: wire.Leave})},
	}
}

// happening is one kind of event in one of the ways that matter.
type happening struct {
	name  string
	event Event
}

func happenings() []happening {
	const known, other = "of the peer", "of another process"
	return []happening{
		{"Begun", Begun{}},
		{"Begun: a stop stands", Begun{Survey{Stopped: true}}},
		{"Begun: the peer left", Begun{Survey{PeerLeft: true}}},
		{"Ticked", Ticked{}},
		{"Dialed: " + known, Dialed{Link: 5, Process: p7}},
		{"Dialed: " + other, Dialed{Link: 5, Process: p8}},
		{"Dialed: a probe, " + known, Dialed{Link: 5, Process: p7, Probe: true}},
		{"DialFailed", DialFailed{}},
		{"DialFailed: a probe", DialFailed{Probe: true}},
		{"Greeted: on our link", Greeted{1, p7, goodHello}},
		{"Greeted: on a new link, " + known, Greeted{5, p7, goodHello}},
		{"Greeted: on a new link, " + other, Greeted{5, p8, goodHello}},
		{"Greeted: not healthy", Greeted{5, p8, unhealthy(goodHello)}},
		{"Greeted: not acceptable", Greeted{5, p8, badHello}},
		{"PlainHeard: " + known, PlainHeard{5, p7}},
		{"PlainHeard: " + other, PlainHeard{5, p8}},
		{"BeatHeard", BeatHeard{2, wire.Beat{Healthy: true}}},
		{"BeatHeard: not healthy", BeatHeard{2, wire.Beat{}}},
		{"BeatHeard: on an unknown link", BeatHeard{6, wire.Beat{Healthy: true}}},
		{"ByeHeard: leave", ByeHeard{2, wire.Bye{Kind: wire.Leave}}},
		{"ByeHeard: stop", ByeHeard{2, wire.Bye{Kind: wire.Stop}}},
		{"RefusedHeard: on our link", RefusedHeard{Link: 1}},
		{"LinkLost: ours", LinkLost{1}},
		{"LinkLost: the peer's", LinkLost{2}},
		{"Examined: traced by a debugger", Examined{p7, sights["traced"](0)}},
		{"Examined: another process", Examined{p8, sights["traced"](0)}},
		{"Died: the peer", Died{Process: p7}},
		{"Died: another process", Died{Process: p8}},
		{"Started", Started{p7}},
		{"Started: another process", Started{p9}},
		{"StartFailed", StartFailed{}},
		{"Surveyed: nothing", Surveyed{Token: 99}},
		{"Surveyed: the name is held", Surveyed{99, Survey{Holder: p9}}},
		{"Surveyed: held by one unseen", Surveyed{99, Survey{HolderUnseen: true}}},
		{"Surveyed: one that was started lives", Surveyed{99, Survey{Recorded: p9}}},
		{"Surveyed: the peer left", Surveyed{99, Survey{PeerLeft: true}}},
		{"Surveyed: a later life has begun", Surveyed{99, Survey{Generation: 10}}},
		{"Surveyed: a stop stands", Surveyed{99, Survey{Stopped: true}}},
		{"Surveyed: a hold stands", Surveyed{99, Survey{HeldFor: time.Minute}}},
		{"Surveyed: the folder cannot be read", Surveyed{99, Survey{Err: "permission denied"}}},
		{"Surveyed: an old answer", Surveyed{Token: 0, Survey: Survey{Stopped: true}}},
		{"LookAsked", LookAsked{}},
		{"GoodbyeStored: leave", GoodbyeStored{Kind: wire.Leave}},
		{"GoodbyeStored: stop", GoodbyeStored{Kind: wire.Stop}},
		{"LeaveAsked", LeaveAsked{}},
		{"StopAsked", StopAsked{}},
	}
}

func unhealthy(h wire.Hello) wire.Hello {
	h.Healthy = false
	return h
}

// reach brings a new machine into the situation; Ticked there means: at the
// deadline.
func (s situation) reach() (*Machine, time.Duration) {
	cfg := testConfig()
	cfg.PlainPermitted = s.plain
	m, now := New(cfg), time.Duration(0)
	for _, e := range s.path {
		if _, tick := e.(Ticked); tick {
			now = m.Deadline()
		}
		seeAsleep(m, now, m.Step(now, e))
	}
	return m, now
}

// seeAsleep answers every Examine: there was a chance to speak.
func seeAsleep(m *Machine, now time.Duration, actions []Action) {
	for _, a := range actions {
		if x, ok := a.(Examine); ok {
			m.Step(now, Examined{x.Process, sights["asleep"](now)})
		}
	}
}

// TestEveryPhaseMeetsEveryEvent walks the full product: no panic, no illegal
// transition, and docs/states.md tells what happens in each case.
func TestEveryPhaseMeetsEveryEvent(t *testing.T) {
	var doc bytes.Buffer
	doc.WriteString(statesHead)
	seen := map[Phase]bool{}
	for _, s := range situations() {
		m, _ := s.reach()
		if m.Phase() != s.phase {
			t.Fatalf("situation %q is %v, want %v", s.name, m.Phase(), s.phase)
		}
		seen[s.phase] = true
		walk(t, &doc, s)
	}
	for p := range phaseNames {
		if !seen[Phase(p)] {
			t.Errorf("no situation is %v", Phase(p))
		}
	}
	compareStates(t, doc.Bytes())
}

const statesHead = `# Every phase and every event

What a member does about each event in each phase, as the machine of internal/protocol decides it. This page is made from the
machine by ` + "`go test ./internal/protocol -run TestEveryPhase -update`" + `, and a test fails when the two differ. Events that are
not in a table do nothing there. In the situations the peer is the process that holds our link 1 and its link 2.

| phase | may become |
|---|---|
`

func walk(t *testing.T, doc *bytes.Buffer, s situation) {
	if s.phase == Unbegun {
		legalTable(doc)
	}
	fmt.Fprintf(doc, "\n## %s\n\n| event | then | what is done |\n|---|---|---|\n", s.name)
	for _, h := range happenings() {
		m, now := s.reach()
		if _, tick := h.event.(Ticked); tick && m.Deadline() < never {
			now = m.Deadline()
		}
		actions := m.Step(now, h.event)
		checkStep(t, s.name+" x "+h.name, m, actions)
		if m.Phase() == s.phase && len(actions) == 0 {
			continue
		}
		fmt.Fprintf(doc, "| %s | %v | %s |\n", h.name, m.Phase(), actionNames(actions))
	}
}

func legalTable(doc *bytes.Buffer) {
	for p := range phaseNames {
		names := []string{}
		for _, next := range legal[Phase(p)] {
			names = append(names, next.String())
		}
		fmt.Fprintf(doc, "| %v | %s |\n", Phase(p), strings.Join(names, ", "))
	}
}

// checkStep is what holds after any step whatsoever.
func checkStep(t interface {
	Helper()
	Errorf(string, ...any)
}, where string, m *Machine, actions []Action) {
	t.Helper()
	end := slices.ContainsFunc(actions, func(a Action) bool { _, is := a.(End); return is })
	if end != (m.Phase() == Ended && len(actions) > 0) {
		t.Errorf("%s: End does not go with the phase %v: %v", where, m.Phase(), actions)
	}
	for _, a := range actions {
		switch a := a.(type) {
		case Spawn:
			if m.Phase() != Reviving {
				t.Errorf("%s: Spawn in phase %v", where, m.Phase())
			}
		case Kill:
			if !a.Process.Known() || m.Phase() != Fencing && m.Phase() != Ending {
				t.Errorf("%s: Kill of %v in phase %v", where, a.Process, m.Phase())
			}
		case Send:
			if a.Link == 0 {
				t.Errorf("%s: Send on no link", where)
			}
		}
	}
	if due := m.Deadline(); due <= m.now && m.Phase() != Ended {
		t.Errorf("%s: the deadline %v is not after %v, so the driver would spin (phase %v)", where, due, m.now, m.Phase())
	}
}

func actionNames(actions []Action) string {
	names := []string{}
	for _, a := range actions {
		name := strings.TrimPrefix(fmt.Sprintf("%T", a), "protocol.")
		switch a := a.(type) {
		case Emit:
			name = "`" + string(a.Notice.Kind) + "`"
		case Send:
			name = "Send " + strings.ToUpper(strings.TrimPrefix(fmt.Sprintf("%T", a.Message), "wire."))
		case Dial:
			name += flagText(a.Probe, " probe")
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func compareStates(t *testing.T, got []byte) {
	if *update {
		if err := os.WriteFile(statesFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(statesFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")), got) {
		t.Errorf("docs/states.md is not what the machine does: %s", firstDifference(string(want), string(got)))
	}
}
