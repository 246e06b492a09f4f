package lifecycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

const statesFile = "../../docs/programs-states.md"

// situation is a way into a state, told as a scenario.
type situation struct {
	name   string
	script []string
}

func situations() []situation {
	up := []string{"start", "up"}
	after := func(more ...string) []string { return append(append([]string{}, up...), more...) }
	return []situation{
		{"STOPPED", nil},
		{"STARTING, the intent is being stored", []string{"start"}},
		{"STARTING, being forked", []string{"start", "kept"}},
		{"STARTING, taken over with an open intent", []string{"start", "takeover"}},
		{"RUNNING", up},
		{"RUNNING, held", after("hold 1h")},
		{"STOPPING, asked for while it is being forked", []string{"start", "kept", "stop"}},
		{"STOPPING, the stop signal is sent", after("stop", "signaled")},
		{"STOPPING, to be started anew", after("restart", "signaled")},
		{"STOPPING, killed", after("stop now")},
		{"STOPPING, what it left behind is ended", after("ended 1")},
		{"STOPPING, what it left behind is ended, not wanted", after("stop", "ended TERM")},
		{"BACKOFF", after("ended 1", "gone", "up", "ended 1", "gone")},
		{"BACKOFF, after a start that failed", []string{"start", "kept", "unstarted"}},
		{"HELD", after("hold 1h", "ended 1", "gone")},
		{"EXITED", []string{"redefine restart=no", "start", "up", "ended 0", "gone"}},
		{"FATAL", []string{"redefine restart=no", "start", "kept", "unstarted"}},
	}
}

func happenings() []string {
	return []string{
		"start", "stop", "stop now", "restart", "hold 1h", "unhold", "redefine grace=7s", "redefine changed grace=7s",
		"kept", "unkept", "started", "unstarted", "resolved found", "resolved ran", "resolved none", "signaled",
		"ended 0", "ended 1", "gone", "over 0", "over 1", "tick", "takeover", "takeover disk",
	}
}

func (s situation) reach(t *testing.T) *story {
	t.Helper()
	y := &story{policy: Defaults(), now: time.Second, machine: New(Defaults(), nil)}
	for _, line := range s.script {
		if err := y.command(bytesFields(line)); err != nil {
			t.Fatal(err)
		}
	}
	return y
}

func bytesFields(line string) (words []string) {
	for _, w := range bytes.Fields([]byte(line)) {
		words = append(words, string(w))
	}
	return words
}

// happen lets one thing happen and returns the actions.
func (s *story) happen(t *testing.T, what string) []Action {
	t.Helper()
	var actions []Action
	words := bytesFields(what)
	switch words[0] {
	case "tick":
		if at, any := s.machine.Deadline(); any {
			s.now = at
		}
		actions = s.machine.Step(s.now, Tick{})
	case "redefine":
		p := s.policy
		p.Grace = 7 * time.Second
		actions = s.machine.Step(s.now, Redefine{p, words[1] == "changed"})
	case "takeover":
		s.machine = Restore(s.policy, s.machine.Record(), nil)
		actions = s.machine.Step(s.now, Begin{FromDisk: len(words) > 1})
	default:
		arg := ""
		if len(words) > 1 {
			arg = words[1]
		}
		e, err := parseEvent(words[0], arg, s.machine.Record().Generation)
		if err != nil {
			t.Fatal(err)
		}
		actions = s.machine.Step(s.now, e)
	}
	return actions
}

const statesHead = `# What happens to a program, in every state

What the supervisors do about each event in each state of a program, as the machine of internal/lifecycle decides it. This page is made
from the machine by ` + "`go test ./internal/lifecycle -run TestEveryState -update`" + `, and a test fails when the two differ. Events that are
not in a table do nothing there. All is with the default policy, and restart=no in EXITED and FATAL.

| state | what it says |
|---|---|
| STOPPED | a person does not want it to run |
| STARTING | its start is prepared or under way |
| RUNNING | its main process lives |
| BACKOFF | it is down, and started again when its wait is over |
| STOPPING | it, or what it left behind, is being ended |
| EXITED | it ended, and is not started again |
| FATAL | it could not be started, and is not tried again |
| HELD | it is down, and started again when the hold is over |

The events: start, stop, restart, hold, unhold and redefine are what people want; *kept* and *unkept*: whoever takes over knows, or does not know,
that it is about to be started; *started* and *unstarted*: so the start ended; *resolved*: what a supervisor that took over found out about
a start that the dead one had in hand; *ended*: the main process is dead; *gone*: nothing of its tree lives; *over*: both at once; *tick*: a wait is over; *takeover*: this
supervisor takes over from the one that died; with *disk*: both had died.
`

// TestEveryStateMeetsEveryEvent walks the full product: no panic, a valid record, no deadline in the past; and
// docs/programs-states.md tells what happens in each case.
func TestEveryStateMeetsEveryEvent(t *testing.T) {
	var doc bytes.Buffer
	doc.WriteString(statesHead)
	for _, s := range situations() {
		before := s.reach(t).machine.Record()
		if state, _, _ := bytes.Cut([]byte(s.name), []byte(",")); string(state) != string(before.State) {
			t.Fatalf("situation %q is %s", s.name, before.State)
		}
		fmt.Fprintf(&doc, "\n## %s\n\n| event | then | what is done |\n|---|---|---|\n", s.name)
		for _, h := range happenings() {
			y := s.reach(t)
			actions := y.happen(t, h)
			checkStep(t, s.name+" x "+h, y.machine, y.now, nil)
			after := y.machine.Record()
			if after == before && len(actions) == 0 {
				continue
			}
			fmt.Fprintf(&doc, "| %s | %s | %s |\n", h, after.State, actionsText(actions))
		}
	}
	compareStates(t, doc.Bytes())
}

func compareStates(t *testing.T, got []byte) {
	t.Helper()
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
		t.Error("docs/programs-states.md is not what the machine does: rerun with -update and look at the difference")
	}
}

// checkStep is what holds after any step whatsoever.
func checkStep(t *testing.T, where string, m *Machine, now time.Duration, k *kernel) {
	t.Helper()
	r := m.Record()
	if err := r.Validate(); err != nil {
		t.Fatalf("%s: the record is not valid: %v: %+v", where, err, r)
	}
	if at, any := m.Deadline(); any && at <= now {
		t.Fatalf("%s: the deadline %v is not after %v, so the driver would spin: %+v", where, at, now, r)
	}
	if k != nil && k.broken != "" {
		t.Fatalf("%s: %s: %+v", where, k.broken, r)
	}
	var again Record
	if text, err := json.Marshal(r); err != nil || json.Unmarshal(text, &again) != nil || again != r {
		t.Fatalf("%s: %+v comes back from JSON as %+v", where, r, again)
	}
}

// kernel is what there is of the program, by what the machine was told and what it did about it.
type kernel struct {
	forked map[uint64]bool
	kept   uint64
	living uint64 // the generation that may live; 0: none does
	dead   bool   // its main process is
	asked  bool   // a person asked that it ends
	wanted bool
	broken string
}

func (k *kernel) done(actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case KeepIntent:
			if k.living != 0 {
				k.broken = "an intent while the generation before may live"
			}
			if !k.wanted {
				k.broken = "an intent of a program that nobody wants"
			}
			k.kept = 0
		case Fork:
			if k.kept != a.Gen || k.forked[a.Gen] || k.living != 0 {
				k.broken = "a fork without its intent, or twice"
			}
			k.forked[a.Gen], k.living, k.dead, k.asked = true, a.Gen, false, false
		case Signal, Kill:
			if !k.asked {
				k.broken = "ended without being asked"
			}
		case EndTree:
			if !k.dead {
				k.broken = "the tree is ended while the main process lives"
			}
		}
	}
}

// told follows an event that the machine is about to get.
func (k *kernel) told(e Event, r Record) (fits bool) {
	switch e := e.(type) {
	case Start:
		k.wanted = true
	case Restart:
		k.wanted = true
		k.asked = k.asked || e.Gen == 0 || e.Gen == r.Generation
	case Stop:
		k.wanted, k.asked = false, true
	case Redefine:
		k.asked = k.asked || e.Changed && k.wanted
	case IntentKept:
		if r.Phase == Birth && e.Gen == r.Generation {
			k.kept = e.Gen
		}
	case Started, StartFailed:
		if r.Phase != Birth || k.living != r.Generation {
			return false
		}
		if _, failed := e.(StartFailed); failed {
			k.living = 0
		}
	case Resolved:
		if r.Phase != Birth || e.Found && k.living == 0 {
			return false
		}
		if !e.Found {
			k.dead = k.living != 0 || e.Ran
			k.living = 0
			if e.Ran {
				k.living = e.Gen
			}
		}
	case Ended:
		if r.Phase != Alive || k.living != e.Gen {
			return false
		}
		k.dead = true
		if e.TreeGone {
			k.living = 0
		}
	case TreeGone:
		if r.Phase != Clearing || !k.dead {
			return false
		}
		k.living = 0
	}
	return true
}

// TestRandomLives feeds random events, with takeovers at any point, to the machine, beside a kernel that knows what may live.
func TestRandomLives(t *testing.T) {
	runs := 500
	if testing.Short() {
		runs = 100
	}
	for seed := range uint64(runs) {
		randomLife(t, seed)
	}
}

func randomLife(t *testing.T, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 3))
	y := &story{policy: Defaults(), now: time.Second, machine: New(Defaults(), random.Float64)}
	k := &kernel{forked: map[uint64]bool{}}
	resolving := false
	for n := range 300 {
		y.now += time.Duration(random.Int64N(int64(2 * time.Second)))
		r := y.machine.Record()
		e := randomEvent(random, r, y)
		if _, takes := e.(Begin); takes {
			y.machine, resolving = Restore(y.policy, r, random.Float64), r.Phase == Birth
		}
		switch e.(type) {
		case Resolved:
			if !resolving {
				continue
			}
		case Started, StartFailed, IntentKept, IntentFailed:
			if resolving {
				continue
			}
		}
		if !k.told(e, r) {
			continue
		}
		actions := y.machine.Step(y.now, e)
		k.done(actions)
		checkStep(t, fmt.Sprintf("seed %d, event %d, %T", seed, n, e), y.machine, y.now, k)
		if y.machine.Record().Phase != Birth || y.machine.Record().Generation != r.Generation {
			resolving = false
		}
	}
}

func randomEvent(random *rand.Rand, r Record, y *story) Event {
	gen := r.Generation
	if gen > 0 && random.IntN(10) == 0 {
		gen -= 1 + random.Uint64N(gen)
	}
	switch random.IntN(20) {
	case 0:
		return Start{}
	case 1:
		return Stop{Now: random.IntN(2) == 0}
	case 2:
		return Restart{Gen: random.Uint64N(2) * gen}
	case 3:
		return Hold{For: time.Duration(random.Int64N(int64(5 * time.Second)))}
	case 4:
		return Unhold{}
	case 5:
		y.policy.Restart = []Condition{Always, OnFailure, Never}[random.IntN(3)]
		y.policy.Grace = time.Duration(random.Int64N(int64(3 * time.Second)))
		return Redefine{y.policy, random.IntN(2) == 0}
	case 6:
		return Begin{FromDisk: random.IntN(2) == 0}
	case 7, 8:
		return IntentKept{gen}
	case 9:
		return IntentFailed{gen, "full"}
	case 10, 11:
		return Started{gen}
	case 12:
		return StartFailed{gen, "absent"}
	case 13:
		kind := random.IntN(3)
		return Resolved{Gen: gen, Found: kind == 0, Ran: kind == 1}
	case 14:
		return Signaled{gen}
	case 15:
		return Ended{gen, Exit{Known: true, Code: random.IntN(2)}, random.IntN(2) == 0}
	case 16, 17:
		return TreeGone{gen}
	}
	return Tick{}
}

// TestTakeoverChangesNothing: a machine that is replaced after each step by one restored from its record ends up where one that lives
// on does, whatever happens, so long as no intent is open.
func TestTakeoverChangesNothing(t *testing.T) {
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 4))
		y := &story{policy: Defaults(), now: time.Second, machine: New(Defaults(), nil)}
		other := New(Defaults(), nil)
		for range 200 {
			y.now += time.Duration(random.Int64N(int64(2 * time.Second)))
			e := randomEvent(random, y.machine.Record(), y)
			switch e.(type) {
			case Begin, Resolved:
				continue
			}
			y.machine.Step(y.now, e)
			other.Step(y.now, e)
			if y.machine.Record() != other.Record() {
				t.Fatalf("seed %d: after %T %+v, taken over %+v", seed, e, y.machine.Record(), other.Record())
			}
			if !other.Record().Intent() {
				other = Restore(y.policy, other.Record(), nil)
			}
		}
	}
}
